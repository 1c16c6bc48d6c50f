# METADATA
# title: EKS keeps audit logs
package terraform.policies.aws_eks_logging

import data.terraform.lib.plan
import rego.v1

wanted := {"api", "audit", "authenticator"}

deny contains msg if {
	some cluster in plan.of_type("aws_eks_cluster")
	missing := wanted - {name | some name in plan.value(cluster, "enabled_cluster_log_types", [])}
	count(missing) > 0
	msg := sprintf("%s: add %s to enabled_cluster_log_types", [cluster.address, concat(", ", missing)])
}
