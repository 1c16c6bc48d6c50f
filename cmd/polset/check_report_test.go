package main_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var sarifSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	return jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "testdata", "sarif", "sarif-schema-2.1.0.json"))
})

// judgeReport holds a report against what its readers expect.
func judgeReport(t *testing.T, format, report string) {
	t.Helper()
	for _, r := range report {
		if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
			t.Errorf("%s: there is a %U in the report", format, r)
		}
	}
	for line := range strings.Lines(report) {
		if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") || strings.Contains(line, "##vso[") {
			t.Errorf("%s: a CI runner would obey %q", format, line)
		}
	}
	switch format {
	case "json":
		judgeJSON(t, report)
	case "sarif":
		judgeSARIF(t, report)
	case "junit":
		judgeJUnit(t, report)
	}
}

func judgeJSON(t *testing.T, report string) {
	t.Helper()
	var d document
	if err := json.Unmarshal([]byte(report), &d); err != nil {
		t.Fatalf("the report is no JSON: %v\n%s", err, report)
	}
	for _, key := range []string{"format-version", "verdict", "exit-code", "summary", "error", "plan", "directory", "at", "run", "counts", "checks", "policy-sets"} {
		if _, ok := d[key]; !ok {
			t.Errorf("the JSON has no %s", key)
		}
	}
}

// judgeSARIF holds a report against SARIF's schema, and against what the schema
// does not say and GitHub insists on.
func judgeSARIF(t *testing.T, report string) {
	t.Helper()
	schema, err := sarifSchema()
	if err != nil {
		t.Fatalf("%v (make sarif-schema fetches it)", err)
	}
	d, err := jsonschema.UnmarshalJSON(strings.NewReader(report))
	if err != nil {
		t.Fatalf("the report is no JSON: %v\n%s", err, report)
	}
	if err := schema.Validate(d); err != nil {
		t.Errorf("the report is no SARIF: %v\n%s", err, report)
	}
	for _, run := range list(d, "runs") {
		rules := list(run, "tool", "driver", "rules")
		seen := map[string]bool{}
		for _, rule := range rules {
			if id := text(rule, "id"); seen[id] {
				t.Errorf("SARIF: two rules %s", id)
			} else {
				seen[id] = true
			}
		}
		for _, result := range list(run, "results") {
			index, err := get(result, "ruleIndex").(json.Number).Int64()
			if err != nil || text(rules[index], "id") != text(result, "ruleId") {
				t.Errorf("SARIF: result of rule %s has the index of another", text(result, "ruleId"))
			}
			if len(list(result, "locations")) != 1 || text(result, "message", "text") == "" {
				t.Errorf("SARIF: GitHub does not show %v", result)
			}
		}
	}
}

// junitElements is what JUnit's readers know, by the element above: the schema
// that comes with Jenkins' plugin.
var junitElements = map[string][]string{
	"":           {"testsuites"},
	"testsuites": {"testsuite"},
	"testsuite":  {"properties", "testcase"},
	"properties": {"property"},
	"testcase":   {"skipped", "failure", "error", "system-out"},
}

// judgeJUnit checks the structure and that the counts are those of the cases.
func judgeJUnit(t *testing.T, report string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(report))
	var path []string
	counted := map[string]int{}
	var claimed map[string]string
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the report is no XML: %v\n%s", err, report)
		}
		switch token := token.(type) {
		case xml.StartElement:
			above := ""
			if len(path) > 0 {
				above = path[len(path)-1]
			}
			known := false
			for _, name := range junitElements[above] {
				known = known || name == token.Name.Local
			}
			if !known {
				t.Errorf("JUnit: <%s> in <%s>", token.Name.Local, above)
			}
			counted[token.Name.Local]++
			if token.Name.Local == "testsuites" {
				claimed = map[string]string{}
				for _, a := range token.Attr {
					claimed[a.Name.Local] = a.Value
				}
			}
			path = append(path, token.Name.Local)
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
	for attribute, element := range map[string]string{"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"} {
		if claimed[attribute] != fmt.Sprint(counted[element]) {
			t.Errorf("JUnit: %s is %s, and there are %d", attribute, claimed[attribute], counted[element])
		}
	}
	if bytes.Contains([]byte(report), []byte("<![CDATA[")) {
		t.Error("JUnit: CDATA, which cannot be escaped")
	}
}
