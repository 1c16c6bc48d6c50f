# METADATA
# title: Tags and labels
# description: AWS and Azure call them tags, Google calls them labels.
package terraform.lib.tags

import data.terraform.lib.plan
import rego.v1

# of is what a resource will carry: provider defaults (tags_all) included.
of(resource) := object.union_n([plan.value(resource, attribute, {}) |
	some attribute in ["labels", "effective_labels", "tags", "tags_all"]
])

# taggable holds for resources whose type knows tags at all.
taggable(resource) if {
	some attribute in ["tags", "labels"]
	_ = resource.change.after[attribute]
}
