package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/polset/polset"
)

const (
	// maxPlanBytes is how large a plan may be. In memory it takes up to 50 times
	// that (lists of empty objects; what Terraform writes takes about 15).
	maxPlanBytes = 64 << 20
	// maxDocumentNesting is how deep a plan or a data file may nest: OPA recurses
	// into values without a bound of its own.
	maxDocumentNesting = 500
)

// A Plan is a Terraform plan as policies see it. It is parsed once, for
// however many policies, and is not changed.
type Plan struct{ value ast.Value }

// ParsePlan parses what terraform show -json says of a plan. Numbers keep
// their digits. The error is a *polset.Failure of class content-invalid or
// limit.
func ParsePlan(raw []byte) (*Plan, error) {
	if len(raw) > maxPlanBytes {
		return nil, polset.Fail(polset.ClassLimit, "The plan is larger than %s, the limit for a plan in JSON.", size(maxPlanBytes))
	}
	raw = bytes.TrimPrefix(raw, []byte("\xEF\xBB\xBF"))
	if deeper(raw, maxDocumentNesting) {
		return nil, polset.Fail(polset.ClassLimit, "The plan nests deeper than %d levels, the limit for a plan in JSON.", maxDocumentNesting)
	}
	members, err := decodeObject(raw)
	if err != nil {
		return nil, badPlan(raw, err)
	}
	if _, ok := members["@level"]; ok {
		return nil, badPlan(raw, nil)
	}
	if _, ok := members["format_version"]; ok && !isPlan(members) {
		return nil, polset.Fail(polset.ClassContentInvalid,
			"This is what terraform show -json says of a state. A plan is expected: terraform plan -out=tfplan, then terraform show -json tfplan.")
	}
	value, err := ast.InterfaceToValue(members)
	if err != nil {
		return nil, badPlan(raw, err)
	}
	return &Plan{value}, nil
}

// isPlan reports whether Terraform's JSON is of a plan; of a state, it has
// none of these.
func isPlan(members map[string]any) bool {
	for _, member := range []string{"planned_values", "resource_changes", "configuration"} {
		if _, ok := members[member]; ok {
			return true
		}
	}
	return false
}

// badPlan says what is wrong with a plan that is no JSON object, as far as it
// looks like what people take for one.
func badPlan(raw []byte, err error) error {
	var hint string
	switch {
	case len(bytes.TrimSpace(raw)) == 0:
		hint = "it is empty"
	case bytes.HasPrefix(raw, []byte("PK")):
		hint = "it looks like the binary file that terraform plan -out writes"
	case bytes.HasPrefix(raw, []byte("\xFF\xFE")), bytes.HasPrefix(raw, []byte("\xFE\xFF")):
		hint = "it is in UTF-16, as older PowerShells redirect; write it in UTF-8"
	case err == nil, bytes.HasPrefix(raw, []byte(`{"@level"`)):
		hint = "it looks like the log that terraform plan -json writes"
	default:
		hint = oneLine(err.Error())
	}
	return &polset.Failure{
		Class:   polset.ClassContentInvalid,
		Message: "The plan is not the JSON object that terraform show -json gives of a plan file: " + hint + ".",
		Err:     err,
	}
}

// decodeObject decodes raw, which must be one JSON object. Numbers keep their
// digits.
func decodeObject(raw []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var members map[string]any
	if err := decoder.Decode(&members); err != nil {
		return nil, err
	}
	switch _, err := decoder.Token(); {
	case members == nil:
		return nil, errors.New("it is null")
	case !errors.Is(err, io.EOF):
		return nil, errors.New("something follows the object")
	}
	return members, nil
}

// deeper reports whether JSON nests deeper than limit. It need not be valid.
func deeper(src []byte, limit int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(src); i++ {
		switch c := src[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
