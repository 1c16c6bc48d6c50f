# METADATA
# title: Blobs are never public
package terraform.policies.azure_storage_public

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some account in plan.of_type("azurerm_storage_account")
	plan.value(account, "allow_nested_items_to_be_public", true)
	msg := sprintf("%s: set allow_nested_items_to_be_public to false", [account.address])
}

deny contains msg if {
	some container in plan.of_type("azurerm_storage_container")
	plan.value(container, "container_access_type", "private") != "private"
	msg := sprintf("%s: set container_access_type to private", [container.address])
}
