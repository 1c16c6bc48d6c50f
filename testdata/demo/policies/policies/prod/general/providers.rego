# METADATA
# title: Providers come from publishers that we know
package terraform.policies.general_providers

import rego.v1

publishers := {"hashicorp", "integrations", "cloudflare", "datadog", "acme"}

deny contains msg if {
	some name, provider in input.plan.configuration.provider_config
	[_, publisher, _] := split(provider.full_name, "/")
	not publisher in publishers
	msg := sprintf("provider %s: nobody reviewed the publisher %s yet", [name, publisher])
}
