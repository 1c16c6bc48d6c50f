package policy

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func sentinelLevels() []string { return []string{"advisory", "soft-mandatory", "hard-mandatory"} }

func sentinelPolicySchema() *hcl.BodySchema {
	return &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
		{Name: "source"}, {Name: "enforcement_level"}, {Name: "params"},
	}}
}

// decodeSentinel reads sentinel.hcl
// (https://developer.hashicorp.com/sentinel/docs/configuration): its policy
// blocks strictly, since a misspelt enforcement_level would quietly weaken a
// policy; its imports and mocks for the files that they name. The blocks
// that configure Sentinel's runtime are its business.
func (s *Set) decodeSentinel(src []byte, p *problems) error {
	parsed, err := s.parseHCL(src, p)
	if err != nil || p.any() {
		return err
	}
	body, ok := parsed.(*hclsyntax.Body)
	if !ok {
		return fmt.Errorf("read %s: unexpected body %T", s.Config, parsed)
	}
	for _, attr := range body.Attributes {
		p.addf(s.Config, start(attr.NameRange), "an argument %q is not expected here", attr.Name)
	}
	var policies hcl.Blocks
	imports := map[string]position{}
	for _, native := range body.Blocks {
		block := native.AsHCLBlock()
		if !s.labelled(block, p) {
			continue
		}
		if block.Type != "policy" && block.Type != "test" {
			s.shared = append(s.shared, sha256.Sum256(native.Range().SliceBytes(src)))
		}
		switch block.Type {
		case "policy":
			policies = append(policies, block)
		case "module", "import":
			s.decodeImport(block, imports, p)
		case "mock":
			s.decodeMock(native, p)
		}
	}
	slices.SortFunc(s.shared, sum.compare)
	s.decodePolicies(src, policies, sentinelPolicySchema(), sentinelLevels(), p)
	return nil
}

// labelled reports whether the block is of a known type and has as many
// labels as that takes.
func (s *Set) labelled(block *hcl.Block, p *problems) bool {
	var labels []string
	switch block.Type {
	case "policy", "module", "mock", "param", "global":
		labels = []string{"name"}
	case "import":
		labels = []string{"kind", "name"}
		if len(block.Labels) == 1 {
			return true // import "plugin-name" { path = … }: until runtime 0.18
		}
	case "sentinel", "test":
	default:
		p.addf(s.Config, start(block.TypeRange), "a block of type %q is not expected here; there are policy, import, module, mock, param, global, sentinel and test", block.Type)
		return false
	}
	if len(block.Labels) == len(labels) {
		return true
	}
	form := block.Type
	for _, label := range labels {
		form += fmt.Sprintf(" %q", strings.ToUpper(label))
	}
	p.addf(s.Config, start(block.TypeRange), "a block of type %q is written %s { … }", block.Type, form)
	return false
}

// decodeImport reads module "x", its old form, and import "KIND" "x".
func (s *Set) decodeImport(block *hcl.Block, declared map[string]position, p *problems) {
	module := Module{Name: block.Labels[len(block.Labels)-1], Kind: "module"}
	at := start(block.LabelRanges[len(block.LabelRanges)-1])
	from := hcl.AttributeSchema{Name: "source", Required: true}
	schema := &hcl.BodySchema{}
	if block.Type == "import" {
		module.Kind = "plugin"
		if len(block.Labels) == 2 {
			module.Kind = block.Labels[0]
		}
	}
	switch module.Kind {
	case "module":
	case "static":
		schema.Attributes = []hcl.AttributeSchema{{Name: "format"}}
	case "plugin":
		from.Required = false // of the standard library, or of the host
		schema.Attributes = []hcl.AttributeSchema{{Name: "path"}, {Name: "args"}, {Name: "env"}, {Name: "config"}}
	default:
		p.addf(s.Config, start(block.LabelRanges[0]), "an import is of kind module, static or plugin, not %q", module.Kind)
		return
	}
	schema.Attributes = append(schema.Attributes, from)

	if problem := badName(module.Name); problem != "" {
		p.addf(s.Config, at, "the name of an import %s", problem)
		return
	}
	if first, ok := declared[module.Name]; ok {
		p.addf(s.Config, at, "import %q is declared twice, first at %s:%d:%d", module.Name, s.Config, first.line, first.column)
		return
	}
	declared[module.Name] = at

	content, diags := block.Body.Content(schema)
	p.addHCL(s.Config, diags)
	if s.text(content, "source", &module.Source, p) {
		s.local(source{
			what: fmt.Sprintf("%s %q", module.Kind, module.Name),
			at:   start(content.Attributes["source"].Expr.Range()), binary: module.Kind == "plugin",
		}, module.Source, p)
	}
	s.Modules = append(s.Modules, module)
}

// decodeMock reads mock "x" { module { source = … } }. A mock is for tests,
// but the runtime loads it with the rest of the configuration.
func (s *Set) decodeMock(block *hclsyntax.Block, p *problems) {
	for _, inner := range block.Body.Blocks {
		if inner.Type != "module" {
			continue
		}
		content, diags := inner.Body.Content(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "source", Required: true}}})
		p.addHCL(s.Config, diags)
		var from string
		if s.text(content, "source", &from, p) {
			s.local(source{what: fmt.Sprintf("mock %q", block.Labels[0]), at: start(content.Attributes["source"].Expr.Range())}, from, p)
		}
	}
}

// local notes the file that from names for src, unless it is remote.
func (s *Set) local(src source, from string, p *problems) {
	name, err := resolve(s.Dir, from)
	switch {
	case err != nil:
		p.addf(s.Config, src.at, "the source %q of %s %v", from, src.what, err)
	case name != "":
		src.path = name
		s.sources = append(s.sources, src)
	}
}
