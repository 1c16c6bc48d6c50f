# METADATA
# title: Instances answer metadata requests by IMDSv2 only
package terraform.policies.aws_ec2_imdsv2

import data.terraform.lib.plan
import rego.v1

# Version 1 answers whoever can make the machine send a GET request.
deny contains msg if {
	some instance in plan.of_types({"aws_instance", "aws_launch_template"})
	options := plan.block(instance, "metadata_options")
	object.get(options, "http_endpoint", "enabled") != "disabled"
	object.get(options, "http_tokens", "optional") != "required"
	msg := sprintf("%s: set metadata_options.http_tokens to required", [instance.address])
}
