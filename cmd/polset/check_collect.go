package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/polset/polset"
)

// The wire's JSON:API, as much of it as is read.
type (
	wireResource[A any] struct {
		ID            string `json:"id"`
		Type          string `json:"type"`
		Attributes    A      `json:"attributes"`
		Relationships map[string]struct {
			Data json.RawMessage `json:"data"`
		} `json:"relationships"`
	}
	wireReference struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}
	wirePage[A any] struct {
		Data []wireResource[A] `json:"data"`
		Meta struct {
			Pagination struct {
				Next *int `json:"next-page"`
			} `json:"pagination"`
		} `json:"meta"`
	}
)

// related is the id of a to-one relationship; "" where there is none.
func (r wireResource[A]) related(name string) string {
	var one wireReference
	if json.Unmarshal(r.Relationships[name].Data, &one) != nil {
		return ""
	}
	return one.ID
}

// wireDraft is a document that creates something.
func wireDraft(kind string, attributes map[string]any, relationships map[string]wireReference) any {
	data := map[string]any{"type": kind, "attributes": attributes}
	related := map[string]any{}
	for name, r := range relationships {
		related[name] = map[string]any{"data": r}
	}
	if len(related) > 0 {
		data["relationships"] = related
	}
	return map[string]any{"data": data}
}

// maxPages bounds a list, whatever its server says.
const maxPages = 1000

// eachOf hands over every resource of a list.
func eachOf[A any](ctx context.Context, c *checkClient, path string, one func(wireResource[A])) error {
	for number := 1; number <= maxPages; {
		var page wirePage[A]
		if err := c.get(ctx, fmt.Sprintf("%s?page%%5Bnumber%%5D=%d&page%%5Bsize%%5D=100", path, number), &page); err != nil {
			return err
		}
		for _, r := range page.Data {
			one(r)
		}
		next := page.Meta.Pagination.Next
		if next == nil || *next <= number {
			return nil
		}
		number = *next
	}
	return errors.New("the server's list has no end")
}

// collect reads what the checks of the run say.
func (c *remoteCheck) collect(ctx context.Context) error {
	c.report.Checks, c.report.Sets = nil, nil
	run := "/runs/" + url.PathEscape(c.report.Run.ID)
	var stages []string
	err := eachOf(ctx, c.checkClient, run+"/task-stages", func(s wireResource[struct{}]) { stages = append(stages, s.ID) })
	if err != nil {
		return fmt.Errorf("read the task stages of the run: %w", err)
	}
	for _, id := range stages {
		if err := c.collectEvaluations(ctx, id); err != nil {
			return err
		}
	}
	return c.collectPolicyChecks(ctx, run)
}

// evaluationAttributes are those of a policy evaluation.
type evaluationAttributes struct {
	Status       string `json:"status"`
	PolicyKind   string `json:"policy-kind"`
	ErrorMessage string `json:"error-message"`
}

func (c *remoteCheck) collectEvaluations(ctx context.Context, stage string) error {
	var evaluations []wireResource[evaluationAttributes]
	err := eachOf(ctx, c.checkClient, "/task-stages/"+url.PathEscape(stage)+"/policy-evaluations",
		func(e wireResource[evaluationAttributes]) { evaluations = append(evaluations, e) })
	if err != nil {
		return fmt.Errorf("read the policy evaluations of the run: %w", err)
	}
	for _, e := range evaluations {
		c.report.Checks = append(c.report.Checks, reportCheck{
			ID: e.ID, Type: "policy-evaluations", Kind: e.Attributes.PolicyKind, Status: e.Attributes.Status, ErrorMessage: e.Attributes.ErrorMessage,
		})
		outcomes := 0
		err := eachOf(ctx, c.checkClient, "/policy-evaluations/"+url.PathEscape(e.ID)+"/policy-set-outcomes",
			func(o wireResource[outcomeAttributes]) {
				outcomes++
				c.report.Sets = append(c.report.Sets, setOf(o, e))
			})
		if err != nil {
			return fmt.Errorf("read the outcomes of the policy evaluation %s: %w", e.ID, err)
		}
		if outcomes == 0 && (e.Attributes.Status == "passed" || e.Attributes.Status == "failed" || e.Attributes.Status == "overridden") {
			return fmt.Errorf("the policy evaluation %s is %s, but says of no policy set why", e.ID, e.Attributes.Status)
		}
	}
	return nil
}

// outcomeAttributes are those of a policy set outcome.
type outcomeAttributes struct {
	Name        string `json:"policy-set-name"`
	Description string `json:"policy-set-description"`
	Overridable bool   `json:"overridable"`
	ToolVersion string `json:"policy-tool-version"`
	Error       string `json:"error"`
	Outcomes    []struct {
		Name        string   `json:"policy_name"`
		Level       string   `json:"enforcement_level"`
		Status      string   `json:"status"`
		Query       string   `json:"query"`
		Description string   `json:"description"`
		Messages    []string `json:"messages"`
		Prints      []string `json:"prints"`
		File        string   `json:"file"`
		Line        int      `json:"line"`
		Output      []struct {
			Print string `json:"print"`
		} `json:"output"`
	} `json:"outcomes"`
}

// setOf is a policy set outcome as polset knows it. What HCP Terraform calls
// output is messages and prints in one.
func setOf(o wireResource[outcomeAttributes], of wireResource[evaluationAttributes]) reportSet {
	a := o.Attributes
	s := reportSet{Overridden: of.Attributes.Status == "overridden", PolicySetOutcome: polset.PolicySetOutcome{
		ID: o.ID, CheckID: of.ID, PolicySetID: o.related("policy-set"), PolicySetName: a.Name, PolicySetDescription: a.Description,
		Kind: polset.Kind(of.Attributes.PolicyKind), Overridable: a.Overridable, PolicyToolVersion: a.ToolVersion,
		VersionID: o.related("policy-set-version"), ErrorMessage: a.Error,
	}}
	if a.Error != "" {
		s.Error = polset.ClassInternal // the class is not told
	}
	for _, p := range a.Outcomes {
		policy := polset.PolicyOutcome{
			Name: p.Name, Query: p.Query, EnforcementLevel: p.Level, Description: p.Description,
			Status: polset.OutcomeStatus(p.Status), Messages: p.Messages, Prints: p.Prints, File: p.File, Line: p.Line,
		}
		if len(p.Messages) == 0 && len(p.Prints) == 0 {
			for _, out := range p.Output {
				policy.Messages = append(policy.Messages, out.Print)
			}
		}
		s.Policies = append(s.Policies, policy)
	}
	s.Counts = s.Count()
	return s
}

// policyCheckAttributes are those of a policy check.
type policyCheckAttributes struct {
	Status       string `json:"status"`
	ErrorMessage string `json:"error-message"`
	Result       *struct {
		Policies []struct {
			Name      string   `json:"name"`
			Result    string   `json:"result"`
			Messages  []string `json:"messages"`
			PolicySet string   `json:"policy-set"`
		} `json:"policies"`
	} `json:"result"`
}

// collectPolicyChecks reads the policy checks, which are of Sentinel.
func (c *remoteCheck) collectPolicyChecks(ctx context.Context, run string) error {
	silent := ""
	err := eachOf(ctx, c.checkClient, run+"/policy-checks", func(r wireResource[policyCheckAttributes]) {
		a := r.Attributes
		c.report.Checks = append(c.report.Checks, reportCheck{
			ID: r.ID, Type: "policy-checks", Kind: string(polset.KindSentinel), Status: a.Status, ErrorMessage: a.ErrorMessage,
		})
		if a.Result == nil {
			if a.Status != "errored" && a.Status != "canceled" && a.Status != "unreachable" {
				silent = fmt.Sprintf("the policy check %s is %s, but has no result that says why", r.ID, a.Status)
			}
			return
		}
		at := map[string]int{}
		for _, p := range a.Result.Policies {
			i, known := at[p.PolicySet]
			if !known {
				i = len(c.report.Sets)
				at[p.PolicySet] = i
				c.report.Sets = append(c.report.Sets, reportSet{Overridden: a.Status == "overridden", PolicySetOutcome: polset.PolicySetOutcome{
					CheckID: r.ID, PolicySetName: p.PolicySet, Kind: polset.KindSentinel,
				}})
			}
			set := &c.report.Sets[i]
			set.Policies = append(set.Policies, sentinelOutcome(p.Name, p.Result, p.Messages))
			set.Counts = set.Count()
		}
	})
	if err != nil {
		return fmt.Errorf("read the policy checks of the run: %w", err)
	}
	if silent != "" {
		return errors.New(silent)
	}
	return nil
}

// sentinelOutcome is a policy of a policy check, whose result implies its
// level.
func sentinelOutcome(name, result string, messages []string) polset.PolicyOutcome {
	p := polset.PolicyOutcome{Name: name, Status: polset.OutcomeFailed, Messages: messages}
	switch level, failed := strings.CutSuffix(strings.ReplaceAll(result, "-", "_"), "_failed"); {
	case result == "passed":
		p.Status = polset.OutcomePassed
	case failed && level == "advisory":
		p.EnforcementLevel = "advisory"
	case failed && (level == "soft" || level == "hard"):
		p.EnforcementLevel = level + "-mandatory"
	default:
		p.Status = polset.OutcomeErrored
	}
	return p
}

// consistent makes sure that the run, its checks and its policies say the same:
// a pass that something contradicts is none.
func (c *remoteCheck) consistent() error {
	r := &c.report
	status := polset.RunStatus(r.Run.Status)
	switch status {
	case polset.RunCanceled, polset.RunDiscarded:
		return fmt.Errorf("the run %s was %s", r.Run.ID, status)
	case polset.RunPlanned:
		if len(r.Checks) > 0 {
			return fmt.Errorf("the run %s is %s in spite of its checks", r.Run.ID, status)
		}
		return nil
	}
	if len(r.Checks) == 0 {
		return fmt.Errorf("the run %s is %s, and has no check that says why", r.Run.ID, status)
	}
	passed := status == polset.RunPostPlanCompleted || status == polset.RunPolicyChecked
	verdict := r.verdict()
	if passed == (verdict == verdictPassed) {
		return nil
	}
	return fmt.Errorf("the run %s is %s, but its policies have %s; check again", r.Run.ID, status, verdict)
}
