# METADATA
# title: Tables can be brought back to any second of the last month
package terraform.policies.aws_dynamodb_recovery

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some table in plan.of_type("aws_dynamodb_table")
	not object.get(plan.block(table, "point_in_time_recovery"), "enabled", false)
	msg := sprintf("%s: enable point_in_time_recovery", [table.address])
}
