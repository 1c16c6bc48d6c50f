# METADATA
# title: KMS keys are rotated within 90 days
package terraform.policies.google_kms_rotation

import data.terraform.lib.plan
import rego.v1

days := 90

deny contains msg if {
	some key in plan.of_type("google_kms_crypto_key")
	plan.value(key, "purpose", "ENCRYPT_DECRYPT") == "ENCRYPT_DECRYPT" # others cannot be rotated
	seconds := to_number(trim_suffix(plan.value(key, "rotation_period", "999999999s"), "s"))
	seconds > days * 86400
	msg := sprintf("%s: set rotation_period to at most %ds", [key.address, days * 86400])
}
