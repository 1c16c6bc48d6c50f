# METADATA
# title: No administration from the whole internet
package terraform.policies.aws_security_group_admin

import data.terraform.lib.network
import data.terraform.lib.plan
import rego.v1

# Inline rules, the older rule resource and today's all say it differently.
deny contains msg if {
	some group in plan.of_type("aws_security_group")
	some rule in plan.value(group, "ingress", [])
	network.open(array.concat(listed(rule, "cidr_blocks"), listed(rule, "ipv6_cidr_blocks")))
	some port, name in network.admin_ports
	reaches(rule.protocol, rule.from_port, rule.to_port, port)
	msg := message(group, name, port)
}

deny contains msg if {
	some rule in plan.of_type("aws_security_group_rule")
	rule.change.after.type == "ingress"
	network.open(array.concat(listed(rule.change.after, "cidr_blocks"), listed(rule.change.after, "ipv6_cidr_blocks")))
	some port, name in network.admin_ports
	reaches(rule.change.after.protocol, rule.change.after.from_port, rule.change.after.to_port, port)
	msg := message(rule, name, port)
}

deny contains msg if {
	some rule in plan.of_type("aws_vpc_security_group_ingress_rule")
	network.open([plan.value(rule, "cidr_ipv4", ""), plan.value(rule, "cidr_ipv6", "")])
	some port, name in network.admin_ports
	reaches(rule.change.after.ip_protocol, plan.value(rule, "from_port", -1), plan.value(rule, "to_port", -1), port)
	msg := message(rule, name, port)
}

message(resource, name, port) := sprintf("%s: %s (port %d) is open to the internet; use Session Manager or the VPN's range", [resource.address, name, port])

listed(object, key) := value if {
	value := object[key]
	is_array(value)
} else := []

# The protocol -1 means every protocol and every port.
reaches("-1", _, _, _)

reaches(protocol, from, to, port) if {
	protocol in {"tcp", "6"}
	network.between(from, to, port)
}
