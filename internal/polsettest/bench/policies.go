package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// guarded are the resources that the policies speak of, with an attribute that
// each must have.
var guarded = [][2]string{
	{"aws_s3_bucket", "server_side_encryption_configuration"},
	{"aws_db_instance", "storage_encrypted"},
	{"aws_ebs_volume", "encrypted"},
	{"aws_lambda_function", "tracing_config"},
	{"aws_sqs_queue", "kms_master_key_id"},
	{"azurerm_storage_account", "min_tls_version"},
	{"azurerm_key_vault", "purge_protection_enabled"},
	{"google_storage_bucket", "uniform_bucket_level_access"},
	{"google_sql_database_instance", "deletion_protection"},
	{"google_compute_disk", "disk_encryption_key"},
}

// policies are the files below policiesPath: a real set that compiles.
func policies() map[string]string {
	files := map[string]string{}
	var declared strings.Builder
	for i := range policyFiles {
		resource, attribute := guarded[i%len(guarded)][0], guarded[i%len(guarded)][1]
		name := fmt.Sprintf("%s_rule_%02d", resource, i)
		files[fmt.Sprintf("%s/%s.rego", policiesPath, name)] = policyText(i, name, resource, attribute)
		level := "mandatory"
		if i%4 == 3 {
			level = "advisory"
		}
		fmt.Fprintf(&declared, "policy %q {\n  query             = \"data.terraform.policies.%s.deny\"\n  enforcement_level = %q\n  description       = \"Every %s sets %s.\"\n}\n\n",
			name, name, level, resource, attribute)
	}
	files[policiesPath+"/policies.hcl"] = declared.String()
	return files
}

func policyText(i int, name, resource, attribute string) string {
	numbers := rand.New(random("policy", i))
	var exempt strings.Builder
	for range 32 {
		fmt.Fprintf(&exempt, "\t%q,\n", fmt.Sprintf("%s.%012x", resource, numbers.Uint64()>>16))
	}
	return fmt.Sprintf(`# Every %[2]s sets %[3]s, unless the security team
# has granted it an exemption.
package terraform.policies.%[1]s

exempt := {
%[4]s}

changed contains resource if {
	some resource in input.plan.resource_changes
	resource.mode == "managed"
	resource.type == "%[2]s"
	some action in resource.change.actions
	action in {"create", "update"}
}

deny contains message if {
	some resource in changed
	not resource.address in exempt
	not resource.change.after.%[3]s
	message := sprintf("%%s: %[3]s is not set", [resource.address])
}
`, name, resource, attribute, exempt.String())
}
