# METADATA
# title: S3 buckets block public access in all four ways
package terraform.policies.aws_s3_public_access

import data.terraform.lib.plan
import rego.v1

switches := ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"]

deny contains msg if {
	some block in plan.of_type("aws_s3_bucket_public_access_block")
	some switch in switches
	not plan.value(block, switch, false)
	msg := sprintf("%s: set %s to true", [block.address, switch])
}

deny contains msg if {
	some bucket in plan.of_type("aws_s3_bucket")
	count(plan.companions("aws_s3_bucket_public_access_block", "bucket", plan.value(bucket, "bucket", ""))) == 0
	msg := sprintf("%s: add an aws_s3_bucket_public_access_block", [bucket.address])
}
