# METADATA
# title: SQL servers are reached through private endpoints
package terraform.policies.azure_sql_network

import data.terraform.lib.plan
import rego.v1

types := {"azurerm_mssql_server", "azurerm_postgresql_flexible_server", "azurerm_mysql_flexible_server"}

deny contains msg if {
	some server in plan.of_types(types)
	plan.value(server, "public_network_access_enabled", true)
	msg := sprintf("%s: set public_network_access_enabled to false", [server.address])
}
