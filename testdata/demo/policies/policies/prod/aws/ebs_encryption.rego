# METADATA
# title: Volumes are encrypted
package terraform.policies.aws_ebs_encryption

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some volume in plan.of_type("aws_ebs_volume")
	not plan.value(volume, "encrypted", false)
	msg := sprintf("%s: set encrypted to true", [volume.address])
}

deny contains msg if {
	some instance in plan.of_type("aws_instance")
	some device in ["root_block_device", "ebs_block_device"]
	some volume in plan.value(instance, device, [])
	volume.encrypted == false
	msg := sprintf("%s: set encrypted to true in %s", [instance.address, device])
}
