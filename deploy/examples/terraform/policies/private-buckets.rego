package terraform.policies.private_buckets

import rego.v1

import input.plan as tfplan

deny contains message if {
	some change in tfplan.resource_changes
	change.type == "aws_s3_bucket_acl"
	change.change.after.acl in {"public-read", "public-read-write"}
	message := sprintf("%s makes its bucket public", [change.address])
}
