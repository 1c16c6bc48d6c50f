package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
)

// The schema of policies.hcl
// (https://developer.hashicorp.com/terraform/cloud-docs/policy-enforcement/opa/vcs).
func opaSchema() *hcl.BodySchema {
	return &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "policy", LabelNames: []string{"name"}}}}
}

func opaPolicySchema() *hcl.BodySchema {
	return &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
		{Name: "query"}, {Name: "enforcement_level"}, {Name: "description"},
	}}
}

func opaLevels() []string { return []string{"advisory", "mandatory"} }

// decodeOPA reads policies.hcl, or policies.json, which is the JSON variant
// of HCL: {"policy": {"name": {"query": "…"}}}.
func (s *Set) decodeOPA(src []byte, p *problems) error {
	parse := s.parseHCL
	if strings.HasSuffix(s.Config, ".json") {
		parse = s.parseJSON
	}
	body, err := parse(src, p)
	if err != nil || p.any() {
		return err
	}
	content, diags := body.Content(opaSchema())
	p.addHCL(s.Config, diags)
	s.decodePolicies(src, content.Blocks, opaPolicySchema(), opaLevels(), p)
	return nil
}

// parseHCL parses HCL's native syntax.
func (s *Set) parseHCL(src []byte, p *problems) (hcl.Body, error) {
	if err := checkHCLNesting(s.Config, src); err != nil {
		return nil, err
	}
	f, diags := hclsyntax.ParseConfig(src, s.Config, hcl.InitialPos)
	p.addHCL(s.Config, diags)
	return f.Body, nil
}

// parseJSON parses HCL's JSON syntax. The standard library goes first: its
// scanner does not recurse, and after one error HCL's reports thousands.
func (s *Set) parseJSON(src []byte, p *problems) (hcl.Body, error) {
	var raw json.RawMessage
	if err := json.Unmarshal(src, &raw); err != nil {
		at := position{1, 1}
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			at = positionAt(src, int(syntax.Offset)-1)
		}
		p.addf(s.Config, at, "this is no JSON: %v", err)
		return nil, nil
	}
	if err := checkJSONNesting(s.Config, src); err != nil {
		return nil, err
	}
	f, diags := hcljson.Parse(src, s.Config)
	p.addHCL(s.Config, diags)
	if f == nil {
		return hcl.EmptyBody(), nil
	}
	return f.Body, nil
}

// positionAt returns the position of the byte at offset, columns counted in
// characters.
func positionAt(src []byte, offset int) position {
	offset = min(max(offset, 0), len(src))
	before := src[:offset]
	lineStart := bytes.LastIndexByte(before, '\n') + 1
	return position{
		line:   bytes.Count(before, []byte{'\n'}) + 1,
		column: utf8.RuneCount(before[lineStart:]) + 1,
	}
}
