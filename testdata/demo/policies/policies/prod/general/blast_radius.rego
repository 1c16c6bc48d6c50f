# METADATA
# title: A plan destroys at most ten things
package terraform.policies.general_blast_radius

import data.terraform.lib.plan
import rego.v1

limit := 10

deny contains msg if {
	destroyed := count(plan.deletions)
	destroyed > limit
	msg := sprintf("the plan destroys %d resources, more than %d; split it", [destroyed, limit])
}
