output "policy_sets" {
  description = "The ids of the policy sets, by name."
  value = {
    for set in [tfe_policy_set.production, tfe_policy_set.baseline, tfe_policy_set.storage, tfe_policy_set.regions] :
    set.name => set.id
  }
}
