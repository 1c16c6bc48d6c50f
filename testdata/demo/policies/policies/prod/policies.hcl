# What production plans must satisfy: mandatory policies stop an apply,
# advisory ones warn.

# AWS

policy "aws_s3_encryption" {
  query             = "data.terraform.policies.aws_s3_encryption.deny"
  enforcement_level = "mandatory"
  description       = "S3 buckets are encrypted with KMS keys."
}

policy "aws_s3_public_access" {
  query             = "data.terraform.policies.aws_s3_public_access.deny"
  enforcement_level = "mandatory"
  description       = "S3 buckets block public access in all four ways."
}

policy "aws_s3_acl" {
  query             = "data.terraform.policies.aws_s3_acl.deny"
  enforcement_level = "mandatory"
  description       = "S3 buckets have no public ACL."
}

policy "aws_s3_versioning" {
  query             = "data.terraform.policies.aws_s3_versioning.deny"
  enforcement_level = "advisory"
  description       = "S3 buckets keep old versions."
}

policy "aws_security_group_admin" {
  query             = "data.terraform.policies.aws_security_group_admin.deny"
  enforcement_level = "mandatory"
  description       = "No administration from the whole internet."
}

policy "aws_security_group_all_ports" {
  query             = "data.terraform.policies.aws_security_group_all_ports.deny"
  enforcement_level = "mandatory"
  description       = "Security groups open only the ports that are served."
}

policy "aws_iam_wildcard" {
  query             = "data.terraform.policies.aws_iam_wildcard.deny"
  enforcement_level = "mandatory"
  description       = "IAM policies name their actions and resources."
}

policy "aws_iam_trust" {
  query             = "data.terraform.policies.aws_iam_trust.deny"
  enforcement_level = "mandatory"
  description       = "Roles trust somebody in particular."
}

policy "aws_iam_user_keys" {
  query             = "data.terraform.policies.aws_iam_user_keys.deny"
  enforcement_level = "advisory"
  description       = "People and machines use roles, not access keys."
}

policy "aws_rds_encryption" {
  query             = "data.terraform.policies.aws_rds_encryption.deny"
  enforcement_level = "mandatory"
  description       = "Databases are encrypted at rest."
}

policy "aws_rds_public" {
  query             = "data.terraform.policies.aws_rds_public.deny"
  enforcement_level = "mandatory"
  description       = "Databases have no public address."
}

policy "aws_rds_backups" {
  query             = "data.terraform.policies.aws_rds_backups.deny"
  enforcement_level = "advisory"
  description       = "Databases keep a week of backups."
}

policy "aws_kms_rotation" {
  query             = "data.terraform.policies.aws_kms_rotation.deny"
  enforcement_level = "mandatory"
  description       = "KMS keys are rotated."
}

policy "aws_ebs_encryption" {
  query             = "data.terraform.policies.aws_ebs_encryption.deny"
  enforcement_level = "mandatory"
  description       = "Volumes are encrypted."
}

policy "aws_ec2_imdsv2" {
  query             = "data.terraform.policies.aws_ec2_imdsv2.deny"
  enforcement_level = "mandatory"
  description       = "Instances answer metadata requests by IMDSv2 only."
}

policy "aws_ec2_instance_types" {
  query             = "data.terraform.policies.aws_ec2_instance_types.deny"
  enforcement_level = "mandatory"
  description       = "Instances are of a type that we have reservations for."
}

policy "aws_eks_endpoint" {
  query             = "data.terraform.policies.aws_eks_endpoint.deny"
  enforcement_level = "mandatory"
  description       = "EKS endpoints are not open to the internet."
}

policy "aws_eks_logging" {
  query             = "data.terraform.policies.aws_eks_logging.deny"
  enforcement_level = "advisory"
  description       = "EKS keeps audit logs."
}

policy "aws_lb_tls" {
  query             = "data.terraform.policies.aws_lb_tls.deny"
  enforcement_level = "mandatory"
  description       = "Load balancers speak TLS 1.2 or later."
}

policy "aws_cloudtrail" {
  query             = "data.terraform.policies.aws_cloudtrail.deny"
  enforcement_level = "mandatory"
  description       = "The trail covers all regions and proves its integrity."
}

policy "aws_lambda_runtime" {
  query             = "data.terraform.policies.aws_lambda_runtime.deny"
  enforcement_level = "advisory"
  description       = "Functions run on a runtime that still gets fixes."
}

policy "aws_dynamodb_recovery" {
  query             = "data.terraform.policies.aws_dynamodb_recovery.deny"
  enforcement_level = "advisory"
  description       = "Tables can be brought back to any second of the last month."
}

policy "aws_queue_encryption" {
  query             = "data.terraform.policies.aws_queue_encryption.deny"
  enforcement_level = "advisory"
  description       = "Queues and topics are encrypted."
}

# Azure

policy "azure_storage_https" {
  query             = "data.terraform.policies.azure_storage_https.deny"
  enforcement_level = "mandatory"
  description       = "Storage accounts accept TLS 1.2 only."
}

policy "azure_storage_public" {
  query             = "data.terraform.policies.azure_storage_public.deny"
  enforcement_level = "mandatory"
  description       = "Blobs are never public."
}

policy "azure_nsg_admin" {
  query             = "data.terraform.policies.azure_nsg_admin.deny"
  enforcement_level = "mandatory"
  description       = "No administration from the whole internet."
}

policy "azure_sql_network" {
  query             = "data.terraform.policies.azure_sql_network.deny"
  enforcement_level = "mandatory"
  description       = "SQL servers are reached through private endpoints."
}

policy "azure_key_vault_purge" {
  query             = "data.terraform.policies.azure_key_vault_purge.deny"
  enforcement_level = "mandatory"
  description       = "Key vaults cannot be purged."
}

policy "azure_vm_sizes" {
  query             = "data.terraform.policies.azure_vm_sizes.deny"
  enforcement_level = "advisory"
  description       = "Virtual machines are of a size that we have reservations for."
}

policy "azure_aks_access" {
  query             = "data.terraform.policies.azure_aks_access.deny"
  enforcement_level = "mandatory"
  description       = "AKS clusters are private, or list who may reach them."
}

# Google Cloud

policy "google_storage_public" {
  query             = "data.terraform.policies.google_storage_public.deny"
  enforcement_level = "mandatory"
  description       = "Buckets are never public."
}

policy "google_storage_uniform_access" {
  query             = "data.terraform.policies.google_storage_uniform_access.deny"
  enforcement_level = "advisory"
  description       = "Buckets are governed by IAM alone."
}

policy "google_firewall_admin" {
  query             = "data.terraform.policies.google_firewall_admin.deny"
  enforcement_level = "mandatory"
  description       = "No administration from the whole internet."
}

policy "google_sql_public" {
  query             = "data.terraform.policies.google_sql_public.deny"
  enforcement_level = "mandatory"
  description       = "Cloud SQL has no public address."
}

policy "google_gke_nodes" {
  query             = "data.terraform.policies.google_gke_nodes.deny"
  enforcement_level = "mandatory"
  description       = "GKE nodes have no public address."
}

policy "google_service_account_keys" {
  query             = "data.terraform.policies.google_service_account_keys.deny"
  enforcement_level = "advisory"
  description       = "Workloads use their identity, not keys."
}

policy "google_kms_rotation" {
  query             = "data.terraform.policies.google_kms_rotation.deny"
  enforcement_level = "mandatory"
  description       = "KMS keys are rotated within 90 days."
}

# Every cloud

policy "general_required_tags" {
  query             = "data.terraform.policies.general_required_tags.deny"
  enforcement_level = "mandatory"
  description       = "Everything says whose it is and what it costs."
}

policy "general_allowed_regions" {
  query             = "data.terraform.policies.general_allowed_regions.deny"
  enforcement_level = "mandatory"
  description       = "Everything stays in the European Union."
}

policy "general_providers" {
  query             = "data.terraform.policies.general_providers.deny"
  enforcement_level = "mandatory"
  description       = "Providers come from publishers that we know."
}

policy "general_module_sources" {
  query             = "data.terraform.policies.general_module_sources.deny"
  enforcement_level = "advisory"
  description       = "Modules are pinned."
}

policy "general_provisioners" {
  query             = "data.terraform.policies.general_provisioners.deny"
  enforcement_level = "mandatory"
  description       = "No commands from inside a plan."
}

policy "general_protected" {
  query             = "data.terraform.policies.general_protected.deny"
  enforcement_level = "mandatory"
  description       = "What holds data is not destroyed by a plan."
}

policy "general_blast_radius" {
  query             = "data.terraform.policies.general_blast_radius.deny"
  enforcement_level = "advisory"
  description       = "A plan destroys at most ten things."
}

policy "general_cost" {
  query             = "data.terraform.policies.general_cost.deny"
  enforcement_level = "advisory"
  description       = "What is expensive is asked for."
}
