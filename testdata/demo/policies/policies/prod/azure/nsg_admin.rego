# METADATA
# title: No administration from the whole internet
package terraform.policies.azure_nsg_admin

import data.terraform.lib.network
import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some resource in plan.of_type("azurerm_network_security_rule")
	message := finding(resource.change.after)
	msg := sprintf("%s: %s", [resource.address, message])
}

deny contains msg if {
	some group in plan.of_type("azurerm_network_security_group")
	some rule in plan.value(group, "security_rule", [])
	message := finding(rule)
	msg := sprintf("%s: rule %s: %s", [group.address, rule.name, message])
}

finding(rule) := message if {
	rule.direction == "Inbound"
	rule.access == "Allow"
	network.open(together(rule, "source_address_prefix", "source_address_prefixes"))
	ports := together(rule, "destination_port_range", "destination_port_ranges")
	reached := [name |
		some port, name in network.admin_ports
		network.in_ranges(ports, port)
	]
	count(reached) > 0
	message := sprintf("%s is open to the internet; use Bastion", [concat(", ", {name | some name in reached})])
}

# Azure has a singular and a plural of each attribute.
together(rule, one, many) := {value |
	some value in array.concat([object.get(rule, one, null)], all_of(rule, many))
	value != null
}

all_of(rule, many) := rule[many] if is_array(rule[many])

else := []
