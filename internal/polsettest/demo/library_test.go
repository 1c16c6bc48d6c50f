package main

import (
	"encoding/json"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclsimple"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/rego"
)

const testdata = "../../../testdata/demo"

// declarations is policies.hcl.
type declarations struct {
	Policies []struct {
		Name        string `hcl:"name,label"`
		Query       string `hcl:"query"`
		Level       string `hcl:"enforcement_level"`
		Description string `hcl:"description"`
	} `hcl:"policy,block"`
}

// pushed is the policy set as it is after the demo's push, submodule included.
func pushed(t *testing.T) map[string]string {
	t.Helper()
	lib, err := readLibrary(testdata)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for name, content := range lib.policies {
		if below, ok := strings.CutPrefix(name, policiesPath+"/"); ok {
			set[below] = content
		}
	}
	for name, content := range lib.helpers {
		set["lib/"+name] = content
	}
	for name, content := range lib.improvement() {
		below, ok := strings.CutPrefix(name, policiesPath+"/")
		if !ok {
			t.Fatalf("the push changes %s, outside the policy set", name)
		}
		if set[below] == content {
			t.Fatalf("the push does not change %s", name)
		}
		set[below] = content
	}
	return set
}

func compile(t *testing.T, set map[string]string) (*ast.Compiler, declarations) {
	t.Helper()
	modules := map[string]*ast.Module{}
	for name, content := range set {
		if path.Ext(name) != ".rego" {
			continue
		}
		module, err := ast.ParseModuleWithOpts(name, content, ast.ParserOptions{ProcessAnnotation: true})
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = module
		formatted, err := format.Source(name, []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		if string(formatted) != content {
			t.Errorf("opa fmt would change %s to:\n%s", name, formatted)
		}
	}
	compiler := ast.NewCompiler().WithStrict(true)
	compiler.Compile(modules)
	if compiler.Failed() {
		t.Fatal(compiler.Errors)
	}
	var d declarations
	if err := hclsimple.Decode("policies.hcl", []byte(set["policies.hcl"]), nil, &d); err != nil {
		t.Fatal(err)
	}
	return compiler, d
}

// denials evaluates each declared policy over a plan.
func denials(t *testing.T, plan string) map[string][]string {
	t.Helper()
	compiler, d := compile(t, pushed(t))
	content, err := os.ReadFile(testdata + "/plans/" + plan)
	if err != nil {
		t.Fatal(err)
	}
	var input any
	if err := json.Unmarshal(content, &input); err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, policy := range d.Policies {
		results, err := rego.New(
			rego.Compiler(compiler), rego.Query(policy.Query), rego.Input(input), rego.StrictBuiltinErrors(true),
		).Eval(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", policy.Name, err)
		}
		if len(results) != 1 {
			t.Fatalf("%s: its query is undefined", policy.Name)
		}
		messages, ok := results[0].Expressions[0].Value.([]any)
		if !ok {
			t.Fatalf("%s: its query is no set", policy.Name)
		}
		found[policy.Name] = nil
		for _, message := range messages {
			text, ok := message.(string)
			if !ok {
				t.Fatalf("%s: a denial is no sentence: %v", policy.Name, message)
			}
			found[policy.Name] = append(found[policy.Name], text)
		}
	}
	return found
}

func TestPoliciesAllowACarefulPlan(t *testing.T) {
	for policy, messages := range denials(t, "careful.json") {
		for _, message := range messages {
			t.Errorf("%s denies: %s", policy, message)
		}
	}
}

func TestEveryPolicyDeniesACarelessPlan(t *testing.T) {
	found := denials(t, "careless.json")
	if len(found) < 40 {
		t.Errorf("there are %d policies", len(found))
	}
	for policy, messages := range found {
		if len(messages) == 0 {
			t.Errorf("%s finds nothing", policy)
		}
	}
	for policy, want := range map[string]string{
		"aws_s3_encryption":            "aws_s3_bucket.reports: add an aws_s3_bucket_server_side_encryption_configuration with sse_algorithm aws:kms",
		"aws_security_group_admin":     "aws_security_group_rule.ssh: SSH (port 22) is open to the internet; use Session Manager or the VPN's range",
		"azure_nsg_admin":              "azurerm_network_security_rule.rdp: RDP is open to the internet; use Bastion",
		"general_protected":            "aws_dynamodb_table.carts: holds data; remove it from the state first, and destroy it by hand",
		"aws_rds_backups":              "aws_db_instance.ledger: keeps 1 days of backups, we ask for 14",
		"aws_elasticache_encryption":   "aws_elasticache_replication_group.sessions: set at_rest_encryption_enabled to true",
		"aws_iam_trust":                "aws_iam_role.ci: the trust policy lets every AWS account assume the role; name the principal",
		"aws_security_group_all_ports": "aws_vpc_security_group_ingress_rule.all: name the protocol and the ports instead of opening all of them",
	} {
		if !slices.Contains(found[policy], want) {
			t.Errorf("%s: got %q, want %q", policy, found[policy], want)
		}
	}
}

// Every policy file is declared, and every declaration has its file.
func TestPoliciesAreDeclared(t *testing.T) {
	compiler, d := compile(t, pushed(t))
	var declared, packages []string
	for _, policy := range d.Policies {
		if policy.Query != "data.terraform.policies."+policy.Name+".deny" {
			t.Errorf("%s asks for %s", policy.Name, policy.Query)
		}
		if policy.Level != "mandatory" && policy.Level != "advisory" || policy.Description == "" {
			t.Errorf("%s: level %q, description %q", policy.Name, policy.Level, policy.Description)
		}
		declared = append(declared, "data.terraform.policies."+policy.Name)
	}
	for _, module := range compiler.Modules {
		if name := module.Package.Path.String(); strings.HasPrefix(name, "data.terraform.policies.") {
			packages = append(packages, name)
		}
	}
	slices.Sort(declared)
	slices.Sort(packages)
	if !slices.Equal(declared, packages) {
		t.Errorf("declared %q, found %q", declared, packages)
	}
}

// What the demo promises to be wrong must be wrong for the reason it shows.
func TestBrokenPolicyDoesNotCompile(t *testing.T) {
	lib, err := readLibrary(testdata)
	if err != nil {
		t.Fatal(err)
	}
	set := pushed(t)
	modules := map[string]*ast.Module{}
	for name, content := range lib.mistake() {
		set[strings.TrimPrefix(name, policiesPath+"/")] = content
	}
	for name, content := range set {
		if path.Ext(name) != ".rego" {
			continue
		}
		module, err := ast.ParseModule(name, content)
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = module
	}
	compiler := ast.NewCompiler()
	compiler.Compile(modules)
	if len(compiler.Errors) != 1 || compiler.Errors[0].Location.File != "aws/s3_encryption.rego" {
		t.Errorf("compiles with %v", compiler.Errors)
	}
}

// Without its submodule the set must not compile: a version that becomes
// ready proves that the submodule was fetched.
func TestPoliciesNeedTheSubmodule(t *testing.T) {
	modules := map[string]*ast.Module{}
	for name, content := range pushed(t) {
		if path.Ext(name) != ".rego" || strings.HasPrefix(name, "lib/") {
			continue
		}
		module, err := ast.ParseModule(name, content)
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = module
	}
	compiler := ast.NewCompiler()
	compiler.Compile(modules)
	if !compiler.Failed() {
		t.Error("compiles without policies/prod/lib")
	}
}
