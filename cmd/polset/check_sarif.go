package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/polset/polset"
)

// SARIF 2.1.0, as much of it as a report needs
// (https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool              sarifTool                        `json:"tool"`
		AutomationDetails *sarifAutomation                 `json:"automationDetails,omitempty"`
		Invocations       []sarifInvocation                `json:"invocations"`
		OriginalURIBases  map[string]sarifArtifactLocation `json:"originalUriBaseIds,omitempty"`
		Results           []sarifResult                    `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string             `json:"id"`
		Name             string             `json:"name"`
		ShortDescription sarifText          `json:"shortDescription"`
		Configuration    sarifConfiguration `json:"defaultConfiguration"`
		Properties       map[string]any     `json:"properties"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifAutomation struct {
		ID string `json:"id"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool                `json:"executionSuccessful"`
		ExitCode            int                 `json:"exitCode"`
		Notifications       []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level          string              `json:"level"`
		Message        sarifText           `json:"message"`
		AssociatedRule *sarifRuleReference `json:"associatedRule,omitempty"`
		Locations      []sarifLocation     `json:"locations,omitempty"`
	}
	sarifRuleReference struct {
		ID    string `json:"id"`
		Index int    `json:"index"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Suppressions []sarifSuppressed `json:"suppressions,omitempty"`
	}
	sarifSuppressed struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
	sarifLocation struct {
		Physical sarifPhysicalLocation `json:"physicalLocation"`
	}
	sarifPhysicalLocation struct {
		Artifact sarifArtifactLocation `json:"artifactLocation"`
		Region   *sarifRegion          `json:"region,omitempty"`
	}
	sarifArtifactLocation struct {
		URI         string     `json:"uri,omitempty"`
		URIBaseID   string     `json:"uriBaseId,omitempty"`
		Description *sarifText `json:"description,omitempty"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
)

// writeSARIF writes the report for tools that show findings: one rule for each
// policy, one result for each message of a policy that failed. What could not
// be evaluated is no finding, but a run that did not come to its end.
func (r report) writeSARIF(w io.Writer) error {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{
			Name: "polset", Version: buildVersion(), InformationURI: "https://github.com/polset/polset", Rules: []sarifRule{},
		}},
		AutomationDetails: r.sarifAutomation(),
		Results:           []sarifResult{},
	}
	invocation := sarifInvocation{ExecutionSuccessful: r.verdict() != verdictErrored, ExitCode: r.exitCode()}
	if r.Err != nil {
		invocation.Notifications = append(invocation.Notifications, sarifNotification{Level: "error", Message: sarifText{r.Err.Error()}})
	}
	for _, c := range r.erroredChecks() {
		invocation.Notifications = append(invocation.Notifications, sarifNotification{Level: "error", Message: sarifText{c.ErrorMessage}})
	}
	for _, s := range r.Sets {
		s.sarif(r, &run, &invocation)
	}
	run.Invocations = []sarifInvocation{invocation}
	return encodeJSON(w, sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

// sarifAutomation tells the results of one workspace from those of another.
func (r report) sarifAutomation() *sarifAutomation {
	switch {
	case r.Run != nil:
		return &sarifAutomation{ID: "polset/" + r.Run.workspace() + "/" + r.Run.ID}
	case r.Dir != "":
		return &sarifAutomation{ID: "polset/" + strings.Trim(path.Clean(filepath.ToSlash(r.Dir)), "/") + "/"}
	}
	return nil
}

// sarif adds what a policy set says.
func (s reportSet) sarif(r report, run *sarifRun, invocation *sarifInvocation) {
	at := func(file string, line, column int) []sarifLocation {
		if file == "" { // every result needs a place: the plan is what it is about
			return []sarifLocation{{sarifPhysicalLocation{Artifact: sarifArtifactLocation{URI: uriOf(r.Plan)}}}}
		}
		location := sarifPhysicalLocation{Artifact: s.sarifPlace(run, file)}
		if line > 0 {
			location.Region = &sarifRegion{StartLine: line, StartColumn: column}
		}
		return []sarifLocation{{location}}
	}
	notify := func(rule *sarifRuleReference, message string, where []sarifLocation) {
		invocation.Notifications = append(invocation.Notifications, sarifNotification{
			Level: "error", Message: sarifText{message}, AssociatedRule: rule, Locations: where,
		})
	}
	if s.Error != "" {
		if len(s.Diagnostics) == 0 {
			notify(nil, fmt.Sprintf("Policy set %s: %s", s.PolicySetName, s.ErrorMessage), nil)
		}
		for _, d := range s.Diagnostics {
			notify(nil, d.Message, at(d.File, d.Line, d.Column))
		}
	}
	for _, p := range s.Policies {
		index := len(run.Tool.Driver.Rules)
		level := "error"
		if p.EnforcementLevel == "advisory" {
			level = "warning"
		}
		id := s.PolicySetName + "/" + p.Name
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: id, Name: p.Name, ShortDescription: sarifText{firstOf(p.Description, p.Name)},
			Configuration: sarifConfiguration{level},
			Properties: map[string]any{
				"policy-set": s.PolicySetName, "policy-set-version": s.VersionID,
				"enforcement-level": p.EnforcementLevel, "query": p.Query, "result": s.result(p),
			},
		})
		messages := p.Messages
		if len(messages) == 0 {
			messages = []string{fmt.Sprintf("Policy %s %s.", p.Name, p.Status)}
		}
		where := at(p.File, p.Line, 0)
		switch p.Status {
		case polset.OutcomePassed:
		case polset.OutcomeFailed:
			var suppressed []sarifSuppressed
			if s.shown(p) == "overridden" {
				suppressed = []sarifSuppressed{{Kind: "external", Justification: "The policy evaluation was overridden."}}
			}
			for _, m := range messages {
				run.Results = append(run.Results, sarifResult{id, index, level, sarifText{m}, where, fingerprint(id, m), suppressed})
			}
		default:
			for _, m := range messages {
				notify(&sarifRuleReference{id, index}, m, where)
			}
		}
	}
}

// policySets is what the files of policy sets are relative to that are not
// here: each below the name of its set, lest somebody takes them for others.
const policySets = "POLICY_SETS"

// sarifPlace is where a file of the set is.
func (s reportSet) sarifPlace(run *sarifRun, file string) sarifArtifactLocation {
	if s.Base != "" {
		return sarifArtifactLocation{URI: uriOf(s.file(file))}
	}
	run.OriginalURIBases = map[string]sarifArtifactLocation{
		policySets: {Description: &sarifText{"The repositories of the policy sets, each below the name of its policy set."}},
	}
	u := url.URL{Path: path.Join(s.PolicySetName, file)}
	return sarifArtifactLocation{URI: u.String(), URIBaseID: policySets}
}

// uriOf is a path as a reference: relative where it lies below here.
func uriOf(name string) string {
	if name == "-" {
		return "stdin"
	}
	seen, _ := seenFromHere(name)
	u := url.URL{Path: seen}
	if path.IsAbs(seen) {
		u.Scheme = "file"
	}
	return u.String()
}

// fingerprint tells a message of a rule from others at the same place, which
// GitHub would take for one.
func fingerprint(rule, message string) map[string]string {
	sum := sha256.Sum256([]byte(rule + "\x00" + message))
	return map[string]string{"primaryLocationLineHash": hex.EncodeToString(sum[:8]) + ":1"}
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
