# METADATA
# title: Virtual machines are of a size that we have reservations for
package terraform.policies.azure_vm_sizes

import data.terraform.lib.plan
import rego.v1

allowed := ["Standard_B", "Standard_D2", "Standard_D4", "Standard_D8", "Standard_E2", "Standard_E4"]

deny contains msg if {
	some machine in plan.of_types({"azurerm_linux_virtual_machine", "azurerm_windows_virtual_machine"})
	not strings.any_prefix_match(machine.change.after.size, allowed)
	msg := sprintf("%s: %s is not covered by our reservations", [machine.address, machine.change.after.size])
}
