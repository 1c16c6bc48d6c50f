# METADATA
# title: No administration from the whole internet
package terraform.policies.google_firewall_admin

import data.terraform.lib.network
import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some firewall in plan.of_type("google_compute_firewall")
	plan.value(firewall, "direction", "INGRESS") == "INGRESS"
	network.open(plan.value(firewall, "source_ranges", []))
	some rule in plan.value(firewall, "allow", [])
	some port, name in network.admin_ports
	reaches(rule, port)
	msg := sprintf("%s: %s (port %d) is open to the internet; use Identity-Aware Proxy", [firewall.address, name, port])
}

reaches(rule, _) if rule.protocol == "all"

# A rule without ports means all of them.
reaches(rule, _) if {
	rule.protocol == "tcp"
	count(rule.ports) == 0
}

reaches(rule, port) if {
	rule.protocol == "tcp"
	network.in_ranges(rule.ports, port)
}
