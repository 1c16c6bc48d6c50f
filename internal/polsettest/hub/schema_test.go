package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	d := &description{resolved: map[string]schema{"#/components/schemas/named": {"type": "string", "enum": []any{"a", nil}}}}
	for _, test := range []struct {
		schema, value, want string
	}{
		{`{"type":"string"}`, `"a"`, ""},
		{`{"type":"string"}`, `7`, "7 is not of the type string"},
		{`{"type":"string"}`, `null`, "null is not of the type string"},
		{`{"type":"string","nullable":true}`, `null`, ""},
		{`{"type":"integer"}`, `1.5`, "1.5 is not of the type integer"},
		{`{"type":"integer"}`, `9007199254740993`, ""},
		{`{"type":"number"}`, `1.5`, ""},
		{`{"type":"boolean"}`, `"true"`, "is not of the type boolean"},
		{`{"type":"integer","minimum":1,"maximum":3}`, `4`, "4 is more than 3"},
		{`{"type":"integer","minimum":1,"maximum":3}`, `0`, "0 is less than 1"},
		{`{"type":"string","maxLength":2}`, `"éé"`, ""},
		{`{"type":"string","maxLength":2}`, `"ééé"`, "3 characters are more than 2"},
		{`{"type":"string","minLength":1}`, `""`, "0 characters are fewer than 1"},
		{`{"type":"string","pattern":"^a+$"}`, `"ab"`, "does not match"},
		{`{"type":"string","format":"date-time"}`, `"2026-01-02T03:04:05Z"`, ""},
		{`{"type":"string","format":"date-time"}`, `"2026-01-02"`, "is no date-time"},
		{`{"type":"string","format":"uri"}`, `"acme"`, "is no uri"},
		{`{"type":"array","items":{"type":"string"},"maxItems":1}`, `["a","b"]`, "2 items are more than 1"},
		{`{"type":"array","items":{"type":"string"},"minItems":1}`, `[]`, "0 items are fewer than 1"},
		{`{"type":"array","items":{"type":"string"}}`, `["a",7]`, "v[1]: 7 is not of the type string"},
		{`{"type":"object","required":["a"]}`, `{}`, "v: a is missing"},
		{`{"type":"object","properties":{"a":{"type":"string"}}}`, `{"a":7,"b":7}`, "v.a: 7"},
		{`{"type":"object","additionalProperties":false}`, `{"b":7}`, "v.b: GitHub knows no such field"},
		{`{"type":"object","additionalProperties":{"type":"string"},"properties":{}}`, `{"b":7}`, "v.b: 7 is not"},
		{`{"enum":["a","b"]}`, `"c"`, "is none of"},
		{`{"$ref":"#/components/schemas/named"}`, `"a"`, ""},
		{`{"$ref":"#/components/schemas/named"}`, `"b"`, "is none of"},
		{`{"$ref":"#/components/schemas/nothing"}`, `"b"`, "missing reference"},
		{`{"allOf":[{"type":"string"},{"maxLength":1}]}`, `"ab"`, "more than 1"},
		{`{"anyOf":[{"type":"string"},{"type":"integer"}]}`, `7`, ""},
		{`{"oneOf":[{"type":"string"},{"type":"integer"}]}`, `true`, "is not of the type integer"},
		{`{"type":"string","dependentRequired":{}}`, `"a"`, "does not understand the keyword dependentRequired"},
	} {
		wrong := strings.Join(d.check(sub(decode([]byte(test.schema))), decode([]byte(test.value)), "v"), "\n")
		if wrong != test.want && (test.want == "" || !strings.Contains(wrong, test.want)) {
			t.Errorf("%s by %s is %q, not %q", test.value, test.schema, wrong, test.want)
		}
	}
}

func TestUnknown(t *testing.T) {
	d := &description{}
	for _, test := range []struct {
		schema, value, want string
	}{
		{`{"properties":{"a":{}}}`, `{"a":1}`, ""},
		{`{"properties":{"a":{}}}`, `{"a":1,"b":2}`, "v.b: GitHub knows no such field"},
		{`{"properties":{"a":{}},"additionalProperties":true}`, `{"b":2}`, ""},
		{`{"properties":{"a":{"properties":{"c":{}}}}}`, `{"a":{"d":1}}`, "v.a.d: GitHub knows no such field"},
		{`{"properties":{"a":{"items":{"properties":{"c":{}}}}}}`, `{"a":[{"c":1},{"d":1}]}`, "v.a[1].d: GitHub knows no such field"},
		{`{"properties":{"a":{}},"oneOf":[{"properties":{"b":{}},"additionalProperties":true}]}`, `{"a":1,"b":1}`, ""},
		{`{"properties":{"a":{}},"oneOf":[{"properties":{"b":{}},"additionalProperties":true}]}`, `{"c":1}`, "v.c: GitHub knows no such field"},
	} {
		if wrong := strings.Join(d.unknown(sub(decode([]byte(test.schema))), decode([]byte(test.value)), "v"), "\n"); wrong != test.want {
			t.Errorf("%s by %s is %q, not %q", test.value, test.schema, wrong, test.want)
		}
	}
}

func TestMissingDescription(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "a", "b"))
	if _, err := loadDescription(); err == nil || !strings.Contains(err.Error(), "run make github-description") {
		t.Errorf("without the description: %v", err)
	}
	if _, err := loadExamples(); err == nil || !strings.Contains(err.Error(), "run make github-description") {
		t.Errorf("without the examples: %v", err)
	}
}
