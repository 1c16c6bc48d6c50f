# METADATA
# title: What is expensive is asked for
package terraform.policies.general_cost

import data.terraform.lib.plan
import rego.v1

# Rough monthly list prices in dollars, of things whose price surprises people.
monthly := {
	"aws_nat_gateway": 35,
	"aws_networkfirewall_firewall": 290,
	"aws_redshift_cluster": 190,
	"aws_msk_cluster": 330,
	"azurerm_firewall": 910,
	"azurerm_application_gateway": 180,
	"google_compute_vpn_gateway": 40,
	"google_spanner_instance": 660,
}

budget := 500

deny contains msg if {
	total := sum([monthly[resource.type] |
		some resource in plan.changes
		resource.change.actions == ["create"]
	])
	total > budget
	msg := sprintf("the plan adds about $%d a month, more than $%d: tell the platform team", [total, budget])
}
