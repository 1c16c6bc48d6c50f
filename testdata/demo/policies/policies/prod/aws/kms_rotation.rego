# METADATA
# title: KMS keys are rotated
package terraform.policies.aws_kms_rotation

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some key in plan.of_type("aws_kms_key")
	plan.value(key, "customer_master_key_spec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT" # others cannot be rotated
	not plan.value(key, "enable_key_rotation", false)
	msg := sprintf("%s: set enable_key_rotation to true", [key.address])
}
