package policy_test

import (
	"strings"
	"testing"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// emptyPlan is a plan of nothing.
const emptyPlan = `{"planned_values": {}}`

func TestParsePlan(t *testing.T) {
	const invalid = "The plan is not the JSON object that terraform show -json gives of a plan file: "
	for _, c := range []struct {
		name, raw string
		class     polset.Class
		want      string
	}{
		{"a plan", `{"format_version": "1.2", "planned_values": {"root_module": {}}}`, "", ""},
		{"a minimal plan", `{"resource_changes": []}`, "", ""},
		{"white space", " \n" + emptyPlan + "\n ", "", ""},
		{"a byte order mark", "\xEF\xBB\xBF" + emptyPlan, "", ""},
		{"nothing", "", polset.ClassContentInvalid, invalid + "it is empty."},
		{"null", "null", polset.ClassContentInvalid, invalid + "it is of type null."},
		{"an array", "[]", polset.ClassContentInvalid, invalid + "it is of type array."},
		{"cut off", `{"a": [`, polset.ClassContentInvalid, invalid + "unexpected EOF."},
		{"a syntax error", `{"a": b}`, polset.ClassContentInvalid, invalid + "invalid character 'b' looking for beginning of value."},
		{"two objects", "{}\n{}", polset.ClassContentInvalid, invalid + "something follows the value."},
		{"the log of a plan", `{"@level":"info","@message":"Terraform 1.13.4"}` + "\n" + `{"@level":"info"}`, polset.ClassContentInvalid, invalid + "it looks like the log that terraform plan -json writes."},
		{"one line of it", `{"@level":"info","@message":"Terraform 1.13.4"}`, polset.ClassContentInvalid, invalid + "it looks like the log that terraform plan -json writes."},
		{"the plan file itself", "PK\x03\x04", polset.ClassContentInvalid, invalid + "it looks like the binary file that terraform plan -out writes."},
		{"UTF-16", "\xFF\xFE{\x00}\x00", polset.ClassContentInvalid, invalid + "it is in UTF-16"},
		{"a state", `{"format_version": "1.0", "terraform_version": "1.13.4", "values": {}}`, polset.ClassContentInvalid, "This is what terraform show -json says of a state."},
		{"no state", `{"format_version": "1.0"}`, polset.ClassContentInvalid, "This is what terraform show -json says of a state."},
		{"an empty object", "{}", polset.ClassContentInvalid, "The plan is not what terraform show -json gives of a plan file: it has none of planned_values, resource_changes and configuration."},
		{"a plan in an object", `{"plan": {"resource_changes": []}}`, polset.ClassContentInvalid, "The plan is not what terraform show -json gives of a plan file"},
		{"too large", strings.Repeat(" ", 64<<20+1), polset.ClassLimit, "The plan is larger than 64 MiB, the limit for a plan in JSON."},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := policy.ParsePlan([]byte(c.raw))
			if c.class != "" {
				wantFailure(t, err, c.class, c.want)
			} else if err != nil || p == nil {
				t.Fatal(err)
			}
		})
	}
}
