package policy

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/polset/polset"
)

// MaxPlanBytes is how large a plan may be. In memory it takes up to 50 times
// that (lists of empty objects; what Terraform writes takes about 15).
const MaxPlanBytes = 64 << 20

// maxDocumentNesting is how deep a plan or a data file may nest: OPA recurses
// into values without a bound of its own.
const maxDocumentNesting = 500

// A Plan is a Terraform plan as policies see it. It is parsed once, for
// however many policies, and is not changed.
type Plan struct{ value ast.Value }

// ParsePlan parses what terraform show -json says of a plan. Numbers keep
// their digits. The error is a *polset.Failure of class content-invalid or
// limit.
func ParsePlan(raw []byte) (*Plan, error) {
	if len(raw) > MaxPlanBytes {
		return nil, PlanTooLarge()
	}
	raw = bytes.TrimPrefix(raw, []byte("\xEF\xBB\xBF"))
	if deeper(raw) {
		return nil, polset.Fail(polset.ClassLimit, "The plan nests deeper than %d levels, the limit for a plan in JSON.", maxDocumentNesting)
	}
	members, err := parseObject(raw)
	if err != nil {
		return nil, badPlan(raw, err)
	}
	if has(members, "@level") {
		return nil, badPlan(raw, nil)
	}
	if has(members, "planned_values", "resource_changes", "configuration") {
		return &Plan{members}, nil
	}
	// Most policies would find nothing to deny in it.
	if has(members, "format_version") {
		return nil, polset.Fail(polset.ClassContentInvalid,
			"This is what terraform show -json says of a state. A plan is expected: terraform plan -out=tfplan, then terraform show -json tfplan.")
	}
	return nil, polset.Fail(polset.ClassContentInvalid,
		"The plan is not what terraform show -json gives of a plan file: it has none of planned_values, resource_changes and configuration.")
}

// PlanTooLarge is the failure of a plan of more than MaxPlanBytes.
func PlanTooLarge() *polset.Failure {
	return polset.Fail(polset.ClassLimit, "The plan is larger than %s, the limit for a plan in JSON.", size(MaxPlanBytes))
}

// has reports whether an object has one of the members.
func has(object ast.Object, members ...string) bool {
	return slices.ContainsFunc(members, func(m string) bool { return object.Get(ast.StringTerm(m)) != nil })
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

// parseObject parses JSON that must be an object.
func parseObject(raw []byte) (ast.Object, error) {
	value, err := parseJSON(raw)
	if err != nil {
		return nil, err
	}
	object, ok := value.(ast.Object)
	if !ok {
		return nil, fmt.Errorf("it is of type %s", ast.ValueName(value))
	}
	return object, nil
}

// deeper reports whether JSON, which need not be valid, nests deeper than
// maxDocumentNesting.
func deeper(src []byte) bool { return deeperThan(src, maxDocumentNesting) >= 0 }
