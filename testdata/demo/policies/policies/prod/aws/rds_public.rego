# METADATA
# title: Databases have no public address
package terraform.policies.aws_rds_public

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some database in plan.of_types({"aws_db_instance", "aws_rds_cluster_instance"})
	plan.value(database, "publicly_accessible", false)
	msg := sprintf("%s: set publicly_accessible to false", [database.address])
}
