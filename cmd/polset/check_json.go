package main

import (
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/polset/polset"
)

// reportFormatVersion is that of the JSON report. What is added raises the
// second number; what programs could stumble over raises the first.
const reportFormatVersion = "1.0"

// The JSON report. Lists are never null; what does not apply is.
type (
	jsonReport struct {
		FormatVersion string          `json:"format-version"`
		Verdict       verdict         `json:"verdict"` // passed, failed or errored
		ExitCode      int             `json:"exit-code"`
		Summary       string          `json:"summary"` // for people
		Error         *string         `json:"error"`   // why there is no verdict at all
		Plan          string          `json:"plan"`
		Directory     *string         `json:"directory"` // of a check without a server
		At            *time.Time      `json:"at"`        // what policies took for the present time
		Run           *jsonRun        `json:"run"`       // of a check on a server
		Counts        jsonCounts      `json:"counts"`
		Checks        []jsonCheck     `json:"checks"`
		PolicySets    []jsonPolicySet `json:"policy-sets"`
	}
	jsonRun struct {
		ID                     string        `json:"id"`
		URL                    string        `json:"url"`
		Status                 string        `json:"status"`
		CreatedAt              *time.Time    `json:"created-at"`
		ConfigurationVersionID string        `json:"configuration-version-id"`
		Workspace              jsonWorkspace `json:"workspace"`
	}
	jsonWorkspace struct {
		ID           string `json:"id"`
		Name         string `json:"name"`
		Organization string `json:"organization"`
	}
	jsonCounts struct {
		Passed         int `json:"passed"`
		AdvisoryFailed int `json:"advisory-failed"`
		SoftFailed     int `json:"soft-failed"` // mandatory, and may be overridden
		HardFailed     int `json:"hard-failed"`
		Errored        int `json:"errored"`
	}
	jsonCheck struct {
		ID           string  `json:"id"`
		Type         string  `json:"type"` // policy-evaluations or policy-checks
		Kind         string  `json:"kind"`
		Status       string  `json:"status"`
		ErrorMessage *string `json:"error-message"`
	}
	jsonPolicySet struct {
		Name         string              `json:"name"`
		Kind         polset.Kind         `json:"kind"`
		Overridable  bool                `json:"overridable"`
		Overridden   bool                `json:"overridden"`
		OutcomeID    *string             `json:"outcome-id"` // psout-…
		CheckID      *string             `json:"check-id"`
		VersionID    *string             `json:"version-id"`
		Error        *string             `json:"error"` // why the set as a whole has no result: a class
		ErrorMessage *string             `json:"error-message"`
		Diagnostics  []polset.Diagnostic `json:"diagnostics"`
		Policies     []jsonPolicy        `json:"policies"`
	}
	jsonPolicy struct {
		Name             string   `json:"name"`
		Query            string   `json:"query"`
		EnforcementLevel string   `json:"enforcement-level"`
		Description      string   `json:"description"`
		Result           string   `json:"result"` // passed, advisory-failed, soft-failed, hard-failed or errored
		Messages         []string `json:"messages"`
		Prints           []string `json:"prints"`
		File             *string  `json:"file"` // that declares it, in the policy set's repository
		Line             *int     `json:"line"`
	}
)

// writeJSON writes the report for programs.
func (r report) writeJSON(w io.Writer) error {
	c := r.counts()
	document := jsonReport{
		FormatVersion: reportFormatVersion, Verdict: r.verdict(), ExitCode: r.exitCode(), Summary: r.summary(),
		Plan: r.Plan, Directory: orNull(r.Dir), At: orNull(r.At.UTC()),
		Counts:     jsonCounts{c.Passed, c.AdvisoryFailed, c.SoftFailed, c.HardFailed, c.Errored},
		Checks:     []jsonCheck{},
		PolicySets: []jsonPolicySet{},
	}
	if r.Err != nil {
		document.Error = orNull(r.Err.Error())
	}
	if r.Run != nil {
		document.Run = &jsonRun{
			ID: r.Run.ID, URL: r.Run.URL, Status: r.Run.Status, CreatedAt: orNull(r.Run.CreatedAt.UTC()),
			ConfigurationVersionID: r.Run.ConfigurationVersionID,
			Workspace:              jsonWorkspace{r.Run.WorkspaceID, r.Run.Workspace, r.Run.Organization},
		}
	}
	for _, c := range r.Checks {
		document.Checks = append(document.Checks, jsonCheck{c.ID, c.Type, c.Kind, c.Status, orNull(c.ErrorMessage)})
	}
	for _, s := range r.Sets {
		document.PolicySets = append(document.PolicySets, s.json())
	}
	return encodeJSON(w, document)
}

func (s reportSet) json() jsonPolicySet {
	document := jsonPolicySet{
		Name: s.PolicySetName, Kind: s.Kind, Overridable: s.Overridable, Overridden: s.Overridden,
		OutcomeID: orNull(s.ID), CheckID: orNull(s.CheckID), VersionID: orNull(s.VersionID),
		Error: orNull(string(s.Error)), ErrorMessage: orNull(s.ErrorMessage),
		Diagnostics: append([]polset.Diagnostic{}, s.Diagnostics...),
		Policies:    []jsonPolicy{},
	}
	for _, p := range s.Policies {
		document.Policies = append(document.Policies, jsonPolicy{
			Name: p.Name, Query: p.Query, EnforcementLevel: p.EnforcementLevel, Description: p.Description, Result: s.result(p),
			Messages: append([]string{}, p.Messages...), Prints: append([]string{}, p.Prints...),
			File: orNull(p.File), Line: orNull(p.Line),
		})
	}
	return document
}

// orNull is null in the place of what says nothing.
func orNull[T comparable](v T) *T {
	var nothing T
	if v == nothing {
		return nil
	}
	return &v
}

// encodeJSON writes a document that is safe on a terminal and in a log.
func encodeJSON(w io.Writer, document any) error {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(document); err != nil {
		return err
	}
	_, err := w.Write(escapeJSON(out.Bytes()))
	return err
}
