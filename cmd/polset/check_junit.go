package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/polset/polset"
)

// JUnit's XML, in the form that GitLab, Jenkins and GitHub's actions read.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		Name    string   `xml:"name,attr"`
		junitCounts
		Suites []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name string `xml:"name,attr"`
		junitCounts
		Timestamp  string           `xml:"timestamp,attr,omitempty"`
		Properties *junitProperties `xml:"properties"`
		Cases      []junitCase      `xml:"testcase"`
	}
	junitCounts struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	junitProperties struct {
		Property []junitProperty `xml:"property"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Skipped *junitProblem `xml:"skipped"`
		Failure *junitProblem `xml:"failure"`
		Error   *junitProblem `xml:"error"`
		Output  *junitText    `xml:"system-out"`
	}
	junitProblem struct {
		Type    string `xml:"type,attr,omitempty"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	junitText struct {
		Text string `xml:",chardata"`
	}
)

// writeJUnit writes the report for tools that show tests: a suite for each
// policy set, a case for each policy. A failed advisory policy is a skipped
// test: it breaks nothing, and yet nobody takes it for one that passed.
func (r report) writeJUnit(w io.Writer) error {
	all := junitSuites{Name: "polset check"}
	if own := r.junitErrors(); len(own.Cases) > 0 {
		all.Suites = append(all.Suites, own)
	}
	for _, s := range r.Sets {
		suite := s.junit()
		if !r.At.IsZero() {
			suite.Timestamp = r.At.UTC().Format("2006-01-02T15:04:05")
		}
		if r.Run != nil {
			suite.Properties = &junitProperties{[]junitProperty{
				{"run", plain(r.Run.ID)},
				{"run-url", plain(r.Run.URL)},
				{"workspace", plain(r.Run.workspace())},
				{"policy-set-version", plain(s.VersionID)},
			}}
		}
		all.Suites = append(all.Suites, suite)
	}
	for i := range all.Suites {
		s := &all.Suites[i]
		s.count()
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
	}
	out, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	// What runners look for, as XML's own escape.
	out = bytes.ReplaceAll(out, []byte("##"), []byte("#&#35;"))
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, out)
	return err
}

// junitErrors is the suite of what is no policy set's fault.
func (r report) junitErrors() junitSuite {
	suite := junitSuite{Name: "polset check"}
	add := func(name, message string) {
		suite.Cases = append(suite.Cases, junitCase{Class: suite.Name, Name: plain(name), Error: problemOf("errored", []string{message})})
	}
	if r.Err != nil {
		add("verdict", r.Err.Error())
	}
	for _, c := range r.erroredChecks() {
		add(c.ID, c.ErrorMessage)
	}
	return suite
}

func (s reportSet) junit() junitSuite {
	suite := junitSuite{Name: plain(s.PolicySetName)}
	if s.Error != "" {
		messages := make([]string, 0, len(s.Diagnostics)+1)
		if len(s.Diagnostics) == 0 {
			messages = append(messages, s.ErrorMessage)
		}
		for _, d := range s.Diagnostics {
			messages = append(messages, fmt.Sprintf("%s:%d:%d: %s", s.file(d.File), d.Line, d.Column, d.Message))
		}
		suite.Cases = append(suite.Cases, junitCase{Class: suite.Name, Name: "policy set", Error: problemOf(string(s.Error), messages)})
	}
	for _, p := range s.Policies {
		c := junitCase{Class: suite.Name, Name: plain(p.Name)}
		if p.File != "" && s.Base != "" {
			c.File = plain(s.file(p.File))
		}
		problem := problemOf(p.EnforcementLevel, p.Messages)
		switch {
		case p.Status == polset.OutcomePassed:
		case p.Status != polset.OutcomeFailed:
			c.Error = problem
		case p.EnforcementLevel == "advisory":
			c.Skipped = &junitProblem{Message: "advisory: " + problem.Message}
			c.Output = &junitText{problem.Text}
		case s.shown(p) == "overridden":
			c.Skipped = &junitProblem{Message: "overridden: " + problem.Message}
			c.Output = &junitText{problem.Text}
		default:
			c.Failure = problem
		}
		if len(p.Prints) > 0 {
			if c.Output == nil {
				c.Output = &junitText{}
			}
			c.Output.Text += linesOf(p.Prints)
		}
		suite.Cases = append(suite.Cases, c)
	}
	return suite
}

func (s *junitSuite) count() {
	for _, c := range s.Cases {
		s.Tests++
		switch {
		case c.Error != nil:
			s.Errors++
		case c.Failure != nil:
			s.Failures++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
}

// problemOf shows the first message where there is room for one, and all in
// the text.
func problemOf(kind string, messages []string) *junitProblem {
	if len(messages) == 0 {
		return &junitProblem{Type: kind, Message: "no message"}
	}
	first := plain(messages[0])
	if more := len(messages) - 1; more > 0 {
		first += fmt.Sprintf(" (and %d more)", more)
	}
	return &junitProblem{Type: kind, Message: first, Text: linesOf(messages)}
}

func linesOf(texts []string) string {
	var b strings.Builder
	for _, text := range texts {
		for _, line := range plainLines(text) {
			b.WriteString(line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}
