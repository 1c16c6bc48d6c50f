# METADATA
# title: IAM policy documents
# description: AWS writes them as JSON inside a string, with single values and lists mixed.
package terraform.lib.iam

import rego.v1

# allowing is the list of Allow statements of a document.
allowing(document) := [statement |
	some statement in list(json.unmarshal(document).Statement)
	statement.Effect == "Allow"
]

actions(statement) := list(object.get(statement, "Action", []))

resources(statement) := list(object.get(statement, "Resource", []))

# principals lists whom a statement trusts, whatever their kind.
principals(statement) := {who |
	some entry in list(statement.Principal)
	some who in flat(entry)
}

list(value) := value if is_array(value)

else := [value]

flat(entry) := {entry} if is_string(entry)

flat(entry) := {who |
	some listed in entry
	some who in list(listed)
} if is_object(entry)
