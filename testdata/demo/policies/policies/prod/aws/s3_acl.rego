# METADATA
# title: S3 buckets have no public ACL
package terraform.policies.aws_s3_acl

import data.terraform.lib.plan
import rego.v1

public := {"public-read", "public-read-write", "authenticated-read", "website"}

deny contains msg if {
	some acl in plan.of_types({"aws_s3_bucket", "aws_s3_bucket_acl"})
	acl.change.after.acl in public
	msg := sprintf("%s: the ACL %s lets strangers read the bucket; share it by bucket policy instead", [acl.address, acl.change.after.acl])
}
