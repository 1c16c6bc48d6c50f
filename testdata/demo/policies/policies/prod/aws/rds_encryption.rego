# METADATA
# title: Databases are encrypted at rest
package terraform.policies.aws_rds_encryption

import data.terraform.lib.plan
import rego.v1

# Encryption cannot be switched on later without a new database.
deny contains msg if {
	some database in plan.of_types({"aws_db_instance", "aws_rds_cluster"})
	not plan.value(database, "storage_encrypted", false)
	not plan.unknown(database, "storage_encrypted")
	not replica(database)
	msg := sprintf("%s: set storage_encrypted to true", [database.address])
}

# A replica takes its encryption from its source.
replica(database) if plan.value(database, "replicate_source_db", "") != ""
