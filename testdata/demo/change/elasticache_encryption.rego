# METADATA
# title: Caches are encrypted on the wire and at rest
package terraform.policies.aws_elasticache_encryption

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some cache in plan.of_type("aws_elasticache_replication_group")
	some switch in ["transit_encryption_enabled", "at_rest_encryption_enabled"]
	not plan.value(cache, switch, false)
	msg := sprintf("%s: set %s to true", [cache.address, switch])
}
