package terraform.policies.named_owner

import rego.v1

import input.plan as tfplan

deny contains message if {
	some change in tfplan.resource_changes
	"tags" in object.keys(change.change.after)
	not change.change.after.tags.owner
	message := sprintf("%s has no owner: set the tag owner", [change.address])
}
