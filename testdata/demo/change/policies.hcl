
policy "aws_elasticache_encryption" {
  query             = "data.terraform.policies.aws_elasticache_encryption.deny"
  enforcement_level = "advisory"
  description       = "Caches are encrypted on the wire and at rest."
}
