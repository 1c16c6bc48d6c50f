package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/polset/polset"
)

// defaultLevel is the enforcement level of a policy that names none, for OPA
// (HCP Terraform's documentation) and Sentinel (runtime 0.18.11) alike.
const defaultLevel = "advisory"

// decodePolicies reads the policy blocks, which are all alike but for the
// attributes that schema allows and the levels there are. src is what they
// were read from.
func (s *Set) decodePolicies(src []byte, blocks hcl.Blocks, schema *hcl.BodySchema, levels []string, p *problems) {
	declared := map[string]position{}
	for _, block := range blocks {
		name := block.Labels[0]
		at := start(block.LabelRanges[0])
		if problem := badName(name); problem != "" {
			p.addf(s.Config, at, "the name of a policy %s", problem)
			continue
		}
		if first, ok := declared[name]; ok {
			p.addf(s.Config, at, "policy %q is declared twice, first at %s:%d:%d", name, s.Config, first.line, first.column)
			continue
		}
		declared[name] = at

		content, diags := block.Body.Content(schema)
		p.addHCL(s.Config, diags)
		policy := Policy{Name: name, EnforcementLevel: defaultLevel, at: start(block.DefRange), line: block.DefRange.Start.Line}
		s.text(content, "description", &policy.Description, p)
		if s.text(content, "enforcement_level", &policy.EnforcementLevel, p) && !slices.Contains(levels, policy.EnforcementLevel) {
			p.addf(s.Config, start(content.Attributes["enforcement_level"].Expr.Range()),
				"enforcement_level %q of policy %q is none of %s", policy.EnforcementLevel, name, strings.Join(levels, ", "))
		}
		if params := content.Attributes["params"]; params != nil {
			policy.params = string(params.Range.SliceBytes(src))
		}
		s.decodePolicy(&policy, content, p)
		s.Policies = append(s.Policies, policy)
	}
}

// decodePolicy reads what tells an OPA policy from a Sentinel one.
func (s *Set) decodePolicy(policy *Policy, content *hcl.BodyContent, p *problems) {
	if s.Kind == polset.KindSentinel {
		policy.Source = "./" + policy.Name + ".sentinel"
		if s.text(content, "source", &policy.Source, p) {
			policy.at = start(content.Attributes["source"].Expr.Range())
		}
		s.local(source{what: fmt.Sprintf("policy %q", policy.Name), at: policy.at, policy: policy.Name}, policy.Source, p)
		return
	}
	switch {
	case content.Attributes["query"] == nil:
		p.addf(s.Config, policy.at, `policy %q needs a query, such as query = "data.terraform.policies.example.deny"`, policy.Name)
	case s.text(content, "query", &policy.Query, p):
		policy.at = start(content.Attributes["query"].Expr.Range())
		if strings.TrimSpace(policy.Query) == "" {
			p.addf(s.Config, policy.at, "the query of policy %q is empty", policy.Name)
		}
	}
}

// text sets value to the attribute's, and reports whether it is there and a
// plain string.
//
// A configuration has nothing to evaluate: there are no variables and no
// functions, and a for expression could keep HCL busy for ever.
func (s *Set) text(content *hcl.BodyContent, name string, value *string, p *problems) bool {
	attr := content.Attributes[name]
	if attr == nil {
		return false
	}
	at := start(attr.Expr.Range())
	if !plain(attr.Expr) {
		p.addf(s.Config, at, "%s must be a plain string, without variables, functions or interpolation", name)
		return false
	}
	var text *string
	if diags := gohcl.DecodeExpression(attr.Expr, nil, &text); diags.HasErrors() || text == nil {
		p.addf(s.Config, at, "%s must be a string", name)
		return false
	}
	*value = *text
	return true
}

// plain reports whether an expression of HCL's native syntax is a literal.
// JSON has no other, as long as it is evaluated without a context.
func plain(expr hcl.Expression) bool {
	switch expr := expr.(type) {
	case *hclsyntax.LiteralValueExpr:
		return true
	case *hclsyntax.TemplateExpr:
		for _, part := range expr.Parts {
			if _, ok := part.(*hclsyntax.LiteralValueExpr); !ok {
				return false
			}
		}
		return true
	case hclsyntax.Expression:
		return false
	}
	return true
}

// maxName is how long the name of a policy may be, in bytes.
const maxName = 255

func badName(name string) string {
	switch {
	case strings.TrimSpace(name) == "":
		return "must not be empty"
	case len(name) > maxName:
		return fmt.Sprintf("must not be longer than %d bytes", maxName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}
