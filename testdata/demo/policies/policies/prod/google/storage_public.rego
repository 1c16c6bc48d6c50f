# METADATA
# title: Buckets are never public
package terraform.policies.google_storage_public

import data.terraform.lib.plan
import rego.v1

strangers := {"allUsers", "allAuthenticatedUsers"}

deny contains msg if {
	some member in plan.of_types({"google_storage_bucket_iam_member", "google_project_iam_member"})
	member.change.after.member in strangers
	msg := sprintf("%s: %s is everybody", [member.address, member.change.after.member])
}

deny contains msg if {
	some binding in plan.of_types({"google_storage_bucket_iam_binding", "google_project_iam_binding"})
	some member in binding.change.after.members
	member in strangers
	msg := sprintf("%s: %s is everybody", [binding.address, member])
}

deny contains msg if {
	some bucket in plan.of_type("google_storage_bucket")
	plan.value(bucket, "public_access_prevention", "inherited") != "enforced"
	msg := sprintf("%s: set public_access_prevention to enforced", [bucket.address])
}
