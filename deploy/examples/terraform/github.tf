# Policies that live on GitHub: every push to the branch becomes a version.

resource "tfe_oauth_client" "github" {
  organization     = tfe_organization.acme.name
  name             = "github"
  service_provider = "github"
  http_url         = "https://github.com"
  api_url          = "https://api.github.com"
  oauth_token      = var.github_token
}

resource "tfe_policy_set" "production" {
  organization  = tfe_organization.acme.name
  name          = "production"
  description   = "What every change to production must satisfy."
  kind          = "opa"
  overridable   = true
  policies_path = "policies/prod"

  vcs_repo {
    identifier     = var.policy_repository
    branch         = var.policy_branch
    oauth_token_id = tfe_oauth_client.github.oauth_token_id
  }
}

# With polset's GitHub App in the place of a token (its installation must be
# bound to the organization, which `polset github bind` does):
#
#   data "tfe_github_app_installation" "acme" {
#     name = "acme"
#   }
#
# and in vcs_repo
#
#     github_app_installation_id = data.tfe_github_app_installation.acme.id
