# METADATA
# title: Functions run on a runtime that still gets fixes
package terraform.policies.aws_lambda_runtime

import data.terraform.lib.plan
import rego.v1

retired := {
	"dotnet6", "dotnetcore3.1", "go1.x", "java8", "nodejs12.x", "nodejs14.x", "nodejs16.x",
	"nodejs18.x", "python3.6", "python3.7", "python3.8", "python3.9", "ruby2.7",
}

deny contains msg if {
	some function in plan.of_type("aws_lambda_function")
	function.change.after.runtime in retired
	msg := sprintf("%s: %s gets no more security fixes", [function.address, function.change.after.runtime])
}
