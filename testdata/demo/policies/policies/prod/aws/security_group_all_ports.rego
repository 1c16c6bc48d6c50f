# METADATA
# title: Security groups open only the ports that are served
package terraform.policies.aws_security_group_all_ports

import data.terraform.lib.network
import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some rule in plan.of_type("aws_security_group_rule")
	rule.change.after.type == "ingress"
	network.open(plan.value(rule, "cidr_blocks", []))
	rule.change.after.protocol == "-1"
	msg := sprintf("%s: name the protocol and the ports instead of opening all of them", [rule.address])
}

deny contains msg if {
	some rule in plan.of_type("aws_vpc_security_group_ingress_rule")
	network.open([plan.value(rule, "cidr_ipv4", ""), plan.value(rule, "cidr_ipv6", "")])
	rule.change.after.ip_protocol == "-1"
	msg := sprintf("%s: name the protocol and the ports instead of opening all of them", [rule.address])
}
