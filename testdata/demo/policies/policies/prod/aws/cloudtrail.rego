# METADATA
# title: The trail covers all regions and proves its integrity
package terraform.policies.aws_cloudtrail

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some trail in plan.of_type("aws_cloudtrail")
	some switch in ["is_multi_region_trail", "enable_log_file_validation"]
	not plan.value(trail, switch, false)
	msg := sprintf("%s: set %s to true", [trail.address, switch])
}
