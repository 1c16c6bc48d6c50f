# METADATA
# title: IAM policies name their actions and resources
package terraform.policies.aws_iam_wildcard

import data.terraform.lib.iam
import data.terraform.lib.plan
import rego.v1

types := {"aws_iam_policy", "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy"}

deny contains msg if {
	some policy in plan.of_types(types)
	some statement in iam.allowing(policy.change.after.policy)
	"*" in iam.actions(statement)
	msg := sprintf("%s: Action \"*\" makes its holder an administrator; list the actions", [policy.address])
}

# "iam:*" on everything is the same as "*", in two steps.
deny contains msg if {
	some policy in plan.of_types(types)
	some statement in iam.allowing(policy.change.after.policy)
	some action in iam.actions(statement)
	lower(action) in {"iam:*", "sts:*", "organizations:*"}
	"*" in iam.resources(statement)
	msg := sprintf("%s: %s on all resources lets its holder become anyone", [policy.address, action])
}
