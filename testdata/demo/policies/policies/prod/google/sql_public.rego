# METADATA
# title: Cloud SQL has no public address
package terraform.policies.google_sql_public

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some database in plan.of_type("google_sql_database_instance")
	some configuration in plan.block(database, "settings").ip_configuration
	object.get(configuration, "ipv4_enabled", true)
	msg := sprintf("%s: set ip_configuration.ipv4_enabled to false and use a private network", [database.address])
}
