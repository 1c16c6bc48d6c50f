# METADATA
# title: S3 buckets keep old versions
package terraform.policies.aws_s3_versioning

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some versioning in plan.of_type("aws_s3_bucket_versioning")
	plan.block(versioning, "versioning_configuration").status != "Enabled"
	msg := sprintf("%s: set versioning_configuration.status to Enabled, so that a deleted object can be brought back", [versioning.address])
}
