variable "hostname" {
  description = "Where polset is, as in its public URL: a name, and a port unless it is 443."
  type        = string
}

variable "organization" {
  description = "Name of the organization to create."
  type        = string
  default     = "acme"
}

variable "github_token" {
  description = "A GitHub token that may read the repository of the policies."
  type        = string
  sensitive   = true
}

variable "policy_repository" {
  description = "The repository of the policies, as owner/name."
  type        = string
}

variable "policy_branch" {
  description = "The branch to follow."
  type        = string
  default     = "main"
}

variable "inventory_token" {
  description = "A secret that policies ask another service with."
  type        = string
  sensitive   = true
}
