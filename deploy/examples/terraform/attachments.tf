# Which policy sets guard what.

resource "tfe_workspace_policy_set" "network" {
  policy_set_id = tfe_policy_set.production.id
  workspace_id  = tfe_workspace.network.id
}

resource "tfe_project_policy_set" "payments" {
  policy_set_id = tfe_policy_set.storage.id
  project_id    = tfe_project.payments.id
}

resource "tfe_project_policy_set" "payments_regions" {
  policy_set_id = tfe_policy_set.regions.id
  project_id    = tfe_project.payments.id
}

# All of the project but one workspace.
resource "tfe_workspace_policy_set_exclusion" "ledger" {
  policy_set_id = tfe_policy_set.regions.id
  workspace_id  = tfe_workspace.ledger.id
}

# Everywhere but in one project.
resource "tfe_project_policy_set_exclusion" "playground" {
  policy_set_id = tfe_policy_set.baseline.id
  project_id    = tfe_project.playground.id
}
