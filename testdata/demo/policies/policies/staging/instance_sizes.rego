# METADATA
# title: Staging runs on small machines
package terraform.policies.staging_instance_sizes

import rego.v1

small := {"nano", "micro", "small", "medium"}

deny contains msg if {
	some resource in input.plan.resource_changes
	resource.type == "aws_instance"
	[_, size] := split(resource.change.after.instance_type, ".")
	not size in small
	msg := sprintf("%s: staging allows instances up to medium, not %s", [resource.address, size])
}
