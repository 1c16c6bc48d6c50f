terraform {
  required_version = ">= 1.5"

  required_providers {
    tfe = {
      source  = "hashicorp/tfe"
      version = ">= 0.60"
    }
  }
}

# The token comes from TFE_TOKEN. Without it, Terraform's own credentials for
# the host are taken (terraform login is not needed: put the token into the
# CLI configuration).
provider "tfe" {
  hostname = var.hostname
}
