# METADATA
# title: Modules are pinned
package terraform.policies.general_module_sources

import rego.v1

# A module of a registry needs a version, one of git a ref.
deny contains msg if {
	some name, call in input.plan.configuration.root_module.module_calls
	not pinned(call)
	msg := sprintf("module.%s: pin %s to a version", [name, call.source])
}

pinned(call) if call.version_constraint

pinned(call) if contains(call.source, "?ref=")

pinned(call) if startswith(call.source, "./")

pinned(call) if startswith(call.source, "../")
