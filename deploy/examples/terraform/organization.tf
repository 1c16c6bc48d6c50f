resource "tfe_organization" "acme" {
  name  = var.organization
  email = "platform@acme.example"
}

resource "tfe_project" "payments" {
  organization = tfe_organization.acme.name
  name         = "payments"
  description  = "Everything that moves money."
}

resource "tfe_project" "playground" {
  organization = tfe_organization.acme.name
  name         = "playground"
}

resource "tfe_workspace" "network" {
  organization = tfe_organization.acme.name
  name         = "network"
  description  = "VPCs and what connects them."
}

resource "tfe_workspace" "ledger" {
  organization = tfe_organization.acme.name
  project_id   = tfe_project.payments.id
  name         = "ledger"
}

resource "tfe_workspace" "sandbox" {
  organization = tfe_organization.acme.name
  project_id   = tfe_project.playground.id
  name         = "sandbox"
}
