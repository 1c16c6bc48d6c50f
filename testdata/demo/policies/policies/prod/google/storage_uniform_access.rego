# METADATA
# title: Buckets are governed by IAM alone
package terraform.policies.google_storage_uniform_access

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some bucket in plan.of_type("google_storage_bucket")
	not plan.value(bucket, "uniform_bucket_level_access", false)
	msg := sprintf("%s: set uniform_bucket_level_access to true", [bucket.address])
}
