# METADATA
# title: No commands from inside a plan
package terraform.policies.general_provisioners

import rego.v1

# What a provisioner does is in no plan, so no policy and no reviewer sees it.
deny contains msg if {
	walk(input.plan.configuration.root_module, [_, resource])
	some provisioner in resource.provisioners
	msg := sprintf("%s: replace the %s provisioner by a resource, or by the machine's own image", [resource.address, provisioner.type])
}
