# METADATA
# title: What holds data is not destroyed by a plan
package terraform.policies.general_protected

import data.terraform.lib.plan
import rego.v1

holds_data := {
	"aws_db_instance", "aws_rds_cluster", "aws_s3_bucket", "aws_dynamodb_table", "aws_kms_key",
	"azurerm_mssql_database", "azurerm_storage_account", "azurerm_key_vault",
	"google_sql_database_instance", "google_storage_bucket", "google_kms_crypto_key",
}

deny contains msg if {
	some resource in plan.deletions
	resource.type in holds_data
	msg := sprintf("%s: holds data; remove it from the state first, and destroy it by hand", [resource.address])
}
