package main

import (
	"fmt"
	"strings"
)

// policiesPath is the directory that the policy set follows.
const policiesPath = "policies/prod"

// improvement is the push that makes a new version: one policy asks for more,
// one is new, and the configuration declares it.
func (l *library) improvement() map[string]string {
	return map[string]string{
		policiesPath + "/aws/rds_backups.rego":            l.edited("aws/rds_backups.rego", "days := 7\n", "days := 14\n"),
		policiesPath + "/aws/elasticache_encryption.rego": l.newPolicy,
		policiesPath + "/policies.hcl":                    l.policies[policiesPath+"/policies.hcl"] + l.newDeclaration,
	}
}

// remark is the push that touches nothing of the policy set.
func (l *library) remark() map[string]string {
	return map[string]string{"README.md": l.policies["README.md"] + "\nQuestions go to the platform team.\n"}
}

// mistake is the push of a policy that calls a function by a wrong name.
func (l *library) mistake() map[string]string {
	return map[string]string{
		policiesPath + "/aws/s3_encryption.rego": l.edited("aws/s3_encryption.rego", "not encrypted(bucket)", "not encryptd(bucket)"),
	}
}

// edited is a policy with one text replaced by another.
func (l *library) edited(name, old, replacement string) string {
	content := l.policies[policiesPath+"/"+name]
	if strings.Count(content, old) != 1 {
		panic(fmt.Sprintf("%s does not hold %q once", name, old)) // the demo and its files have parted
	}
	return strings.Replace(content, old, replacement, 1)
}
