# METADATA
# title: Instances are of a type that we have reservations for
package terraform.policies.aws_ec2_instance_types

import data.terraform.lib.plan
import rego.v1

families := {"t3", "t4g", "m6i", "m7g", "c7g", "r7g"}

# Larger ones are asked for: they cost more than a thousand dollars a month.
too_large := {"12xlarge", "16xlarge", "24xlarge", "32xlarge", "48xlarge", "metal"}

deny contains msg if {
	some instance in plan.of_type("aws_instance")
	[family, _] := split(instance.change.after.instance_type, ".")
	not family in families
	msg := sprintf("%s: %s is not of the families %s", [instance.address, instance.change.after.instance_type, concat(", ", families)])
}

deny contains msg if {
	some instance in plan.of_type("aws_instance")
	[_, size] := split(instance.change.after.instance_type, ".")
	size in too_large
	msg := sprintf("%s: %s needs an exception", [instance.address, instance.change.after.instance_type])
}
