# METADATA
# title: What a plan does
# description: Reads the resource changes of `terraform show -json` as HCP Terraform passes them, below input.plan.
package terraform.lib.plan

import rego.v1

# The managed resources that the plan creates, updates or replaces: those that
# will exist afterwards in a new form. Data sources are not among them.
changes contains resource if {
	some resource in input.plan.resource_changes
	resource.mode == "managed"
	some action in resource.change.actions
	action in {"create", "update"}
}

# The managed resources that the plan destroys, replaced ones included.
deletions contains resource if {
	some resource in input.plan.resource_changes
	resource.mode == "managed"
	"delete" in resource.change.actions
}

of_type(type) := {resource |
	some resource in changes
	resource.type == type
}

of_types(types) := {resource |
	some resource in changes
	resource.type in types
}

# value is an attribute after the apply, or fallback where it is absent or null.
value(resource, name, fallback) := found if {
	found := resource.change.after[name]
	found != null
} else := fallback

# block is the first nested block of a name, or {} where there is none.
block(resource, name) := first if {
	first := resource.change.after[name][0]
} else := {}

# unknown holds where an attribute is not known before the apply: a policy
# that cannot see a value must not call it missing.
unknown(resource, name) if resource.change.after_unknown[name] == true

# companions are the planned resources of a type whose
# attribute refers to the given one, by name or by a reference that is not yet
# known. Companion resources such as a bucket's encryption are found this way.
companions(type, attribute, name) := {resource |
	some resource in of_type(type)
	refers(resource, attribute, name)
}

refers(resource, attribute, name) if resource.change.after[attribute] == name

refers(resource, attribute, _) if unknown(resource, attribute)
