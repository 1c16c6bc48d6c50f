# METADATA
# title: AKS clusters are private, or list who may reach them
package terraform.policies.azure_aks_access

import data.terraform.lib.network
import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some cluster in plan.of_type("azurerm_kubernetes_cluster")
	not plan.value(cluster, "private_cluster_enabled", false)
	ranges := object.get(plan.block(cluster, "api_server_access_profile"), "authorized_ip_ranges", ["0.0.0.0/0"])
	network.open(ranges)
	msg := sprintf("%s: set private_cluster_enabled, or api_server_access_profile.authorized_ip_ranges", [cluster.address])
}

deny contains msg if {
	some cluster in plan.of_type("azurerm_kubernetes_cluster")
	not plan.value(cluster, "local_account_disabled", false)
	msg := sprintf("%s: set local_account_disabled to true, so that everybody signs in as themselves", [cluster.address])
}
