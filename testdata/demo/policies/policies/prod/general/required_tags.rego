# METADATA
# title: Everything says whose it is and what it costs
package terraform.policies.general_required_tags

import data.terraform.lib.plan
import data.terraform.lib.tags
import rego.v1

required := {"owner", "cost-center", "environment"}

deny contains msg if {
	some resource in plan.changes
	tags.taggable(resource)
	missing := required - {lower(key) | some key, _ in tags.of(resource)}
	count(missing) > 0
	msg := sprintf("%s: add the tags %s", [resource.address, concat(", ", missing)])
}
