# METADATA
# title: S3 buckets are encrypted with KMS keys
package terraform.policies.aws_s3_encryption

import data.terraform.lib.plan
import rego.v1

# Since 2023 S3 encrypts everything with its own keys; we want keys whose use
# is logged, so a bucket needs a configuration that names KMS.
deny contains msg if {
	some bucket in plan.of_type("aws_s3_bucket")
	not encrypted(bucket)
	msg := sprintf("%s: add an aws_s3_bucket_server_side_encryption_configuration with sse_algorithm aws:kms", [bucket.address])
}

encrypted(bucket) if {
	some configuration in plan.companions("aws_s3_bucket_server_side_encryption_configuration", "bucket", plan.value(bucket, "bucket", ""))
	some rule in configuration.change.after.rule
	some setting in rule.apply_server_side_encryption_by_default
	startswith(setting.sse_algorithm, "aws:kms")
}
