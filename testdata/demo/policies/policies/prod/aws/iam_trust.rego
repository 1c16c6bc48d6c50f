# METADATA
# title: Roles trust somebody in particular
package terraform.policies.aws_iam_trust

import data.terraform.lib.iam
import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some role in plan.of_type("aws_iam_role")
	some statement in iam.allowing(role.change.after.assume_role_policy)
	"*" in iam.principals(statement)
	not statement.Condition
	msg := sprintf("%s: the trust policy lets every AWS account assume the role; name the principal", [role.address])
}
