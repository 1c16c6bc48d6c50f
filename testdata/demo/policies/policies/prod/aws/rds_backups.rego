# METADATA
# title: Databases keep a week of backups
package terraform.policies.aws_rds_backups

import data.terraform.lib.plan
import rego.v1

days := 7

deny contains msg if {
	some database in plan.of_types({"aws_db_instance", "aws_rds_cluster"})
	kept := plan.value(database, "backup_retention_period", 0)
	kept < days
	not plan.unknown(database, "backup_retention_period")
	msg := sprintf("%s: keeps %d days of backups, we ask for %d", [database.address, kept, days])
}
