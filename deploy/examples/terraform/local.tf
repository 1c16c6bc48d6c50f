# Policies that live beside this configuration: they are uploaded when they
# change.

data "tfe_slug" "baseline" {
  source_path = "${path.module}/policies/baseline"
}

resource "tfe_policy_set" "baseline" {
  organization = tfe_organization.acme.name
  name         = "baseline"
  description  = "The least that holds everywhere."
  kind         = "opa"
  global       = true
  slug         = data.tfe_slug.baseline
}
