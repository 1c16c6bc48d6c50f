# METADATA
# title: Everything stays in the European Union
package terraform.policies.general_allowed_regions

import data.terraform.lib.plan
import rego.v1

regions := {"eu-central-1", "eu-west-1", "westeurope", "northeurope", "europe-west1", "europe-west3", "eu"}

deny contains msg if {
	some resource in plan.changes
	some attribute in ["region", "location"]
	where := resource.change.after[attribute]
	is_string(where)
	not lower(where) in regions
	msg := sprintf("%s: %s is not one of our regions (%s)", [resource.address, where, concat(", ", regions)])
}

# AWS resources take their region from the provider.
deny contains msg if {
	some name, provider in input.plan.configuration.provider_config
	region := provider.expressions.region.constant_value
	not lower(region) in regions
	msg := sprintf("provider %s: %s is not one of our regions (%s)", [name, region, concat(", ", regions)])
}
