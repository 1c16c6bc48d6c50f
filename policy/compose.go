package policy

import (
	"fmt"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/polset/polset"
)

// Compose returns the configuration file of a policy set that holds policies
// managed one by one, and its name: Read reads the same policies from it, in
// the same order, if each lies beside it under the name that its File says.
func Compose(kind polset.Kind, policies []polset.Policy) (name string, src []byte, err error) {
	f := hclwrite.NewEmptyFile()
	f.Body().AppendUnstructuredTokens(hclwrite.Tokens{{
		Type: hclsyntax.TokenComment, Bytes: []byte("# Made by polset of the policies that are members of the policy set.\n"),
	}})
	for _, p := range policies {
		if p.Kind != kind {
			return "", nil, fmt.Errorf("compose policy set: policy %q is of kind %q, the set of kind %q", p.Name, p.Kind, kind)
		}
		f.Body().AppendNewline()
		block := f.Body().AppendNewBlock("policy", []string{p.Name}).Body()
		set := func(name, value string) { block.SetAttributeValue(name, cty.StringVal(value)) }
		if kind == polset.KindOPA {
			set("query", p.Query)
			set("enforcement_level", p.EnforcementLevel)
			if p.Description != "" {
				set("description", p.Description)
			}
			continue
		}
		set("source", "./"+p.File())
		set("enforcement_level", p.EnforcementLevel) // Sentinel knows no description
	}
	if kind == polset.KindOPA {
		return opaConfigHCL, f.Bytes(), nil
	}
	return sentinelConfig, f.Bytes(), nil
}
