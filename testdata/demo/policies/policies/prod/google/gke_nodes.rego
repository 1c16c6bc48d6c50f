# METADATA
# title: GKE nodes have no public address
package terraform.policies.google_gke_nodes

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some cluster in plan.of_type("google_container_cluster")
	not object.get(plan.block(cluster, "private_cluster_config"), "enable_private_nodes", false)
	msg := sprintf("%s: set private_cluster_config.enable_private_nodes to true", [cluster.address])
}
