policy "staging_instance_sizes" {
  query             = "data.terraform.policies.staging_instance_sizes.deny"
  enforcement_level = "advisory"
  description       = "Staging runs on small machines."
}
