# METADATA
# title: Workloads use their identity, not keys
package terraform.policies.google_service_account_keys

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some key in plan.of_type("google_service_account_key")
	msg := sprintf("%s: use workload identity; a key never expires by itself", [key.address])
}
