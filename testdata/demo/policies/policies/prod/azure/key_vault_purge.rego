# METADATA
# title: Key vaults cannot be purged
package terraform.policies.azure_key_vault_purge

import data.terraform.lib.plan
import rego.v1

# Without purge protection one command destroys what every backup needs.
deny contains msg if {
	some vault in plan.of_type("azurerm_key_vault")
	not plan.value(vault, "purge_protection_enabled", false)
	msg := sprintf("%s: set purge_protection_enabled to true", [vault.address])
}
