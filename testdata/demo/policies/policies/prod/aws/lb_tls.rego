# METADATA
# title: Load balancers speak TLS 1.2 or later
package terraform.policies.aws_lb_tls

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some listener in plan.of_types({"aws_lb_listener", "aws_alb_listener"})
	listener.change.after.protocol == "HTTP"
	plan.block(listener, "default_action").type != "redirect"
	msg := sprintf("%s: serve HTTPS, or redirect to it", [listener.address])
}

deny contains msg if {
	some listener in plan.of_types({"aws_lb_listener", "aws_alb_listener"})
	listener.change.after.protocol in {"HTTPS", "TLS"}
	policy := plan.value(listener, "ssl_policy", "ELBSecurityPolicy-2016-08")
	not contains(policy, "TLS13")
	not contains(policy, "TLS-1-2")
	msg := sprintf("%s: ssl_policy %s still accepts TLS 1.0", [listener.address, policy])
}
