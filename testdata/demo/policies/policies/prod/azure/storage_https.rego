# METADATA
# title: Storage accounts accept TLS 1.2 only
package terraform.policies.azure_storage_https

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some account in plan.of_type("azurerm_storage_account")
	not plan.value(account, "https_traffic_only_enabled", true)
	msg := sprintf("%s: set https_traffic_only_enabled to true", [account.address])
}

deny contains msg if {
	some account in plan.of_type("azurerm_storage_account")
	version := plan.value(account, "min_tls_version", "TLS1_2")
	version in {"TLS1_0", "TLS1_1"}
	msg := sprintf("%s: %s is broken, set min_tls_version to TLS1_2", [account.address, version])
}
