# METADATA
# title: People and machines use roles, not access keys
package terraform.policies.aws_iam_user_keys

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some key in plan.of_type("aws_iam_access_key")
	msg := sprintf("%s: long-lived keys leak; use a role, or IAM Roles Anywhere outside AWS", [key.address])
}
