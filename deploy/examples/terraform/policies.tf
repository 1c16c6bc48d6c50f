# Policies one by one, each a resource of its own.

resource "tfe_policy" "private_buckets" {
  organization = tfe_organization.acme.name
  name         = "private-buckets"
  description  = "Buckets are not public."
  kind         = "opa"
  query        = "data.terraform.policies.private_buckets.deny"
  policy       = file("${path.module}/policies/private-buckets.rego")
  enforce_mode = "mandatory"
}

resource "tfe_policy_set" "storage" {
  organization = tfe_organization.acme.name
  name         = "storage"
  kind         = "opa"
  policy_ids   = [tfe_policy.private_buckets.id]
}

resource "tfe_policy" "allowed_regions" {
  organization = tfe_organization.acme.name
  name         = "allowed-regions"
  description  = "Resources stay where their data may be."
  policy       = file("${path.module}/policies/allowed-regions.sentinel")
  enforce_mode = "soft-mandatory"
}

resource "tfe_policy_set" "regions" {
  organization = tfe_organization.acme.name
  name         = "regions"
  policy_ids   = [tfe_policy.allowed_regions.id]
}

resource "tfe_policy_set_parameter" "regions" {
  policy_set_id = tfe_policy_set.regions.id
  key           = "regions"
  value         = "[\"eu-central-1\", \"eu-west-1\"]"
}

resource "tfe_policy_set_parameter" "inventory_token" {
  policy_set_id = tfe_policy_set.regions.id
  key           = "inventory_token"
  value         = var.inventory_token
  sensitive     = true
}
