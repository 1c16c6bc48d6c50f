# METADATA
# title: EKS endpoints are not open to the internet
package terraform.policies.aws_eks_endpoint

import data.terraform.lib.network
import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some cluster in plan.of_type("aws_eks_cluster")
	access := plan.block(cluster, "vpc_config")
	object.get(access, "endpoint_public_access", true)
	network.open(object.get(access, "public_access_cidrs", ["0.0.0.0/0"]))
	msg := sprintf("%s: set endpoint_public_access to false, or list public_access_cidrs", [cluster.address])
}
