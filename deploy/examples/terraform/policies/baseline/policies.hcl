policy "named-owner" {
  description       = "Whatever can be tagged names its owner."
  query             = "data.terraform.policies.named_owner.deny"
  enforcement_level = "mandatory"
}
