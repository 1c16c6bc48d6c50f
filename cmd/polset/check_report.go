package main

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/polset/polset"
)

// A report is what polset check found, on a server or here.
type report struct {
	Plan string    // as it was given
	Dir  string    // of a check against a directory
	At   time.Time // what policies took for the present time
	Run  *reportRun
	// Checks are those of the run; there are none without a server.
	Checks []reportCheck
	Sets   []reportSet
	// Err says why there is no verdict; nil where the rest says it.
	Err error
}

// reportRun is the run that the plan was checked in.
type reportRun struct {
	ID, URL, Status                      string
	CreatedAt                            time.Time
	WorkspaceID, Workspace, Organization string
	ConfigurationVersionID               string
}

// reportCheck is a policy evaluation, or a policy check, in the server's words.
type reportCheck struct {
	ID, Type, Kind, Status string
	ErrorMessage           string
}

// reportSet is what one policy set says.
type reportSet struct {
	polset.PolicySetOutcome

	Diagnostics []polset.Diagnostic // where it does not compile
	More        int                 // how many there are besides
	Overridden  bool                // somebody let the run go on
	// Base is what the paths of the set's files begin with, seen from here; ""
	// where they are somewhere else altogether.
	Base string
}

// file is the path of a file of the set.
func (s reportSet) file(name string) string {
	if s.Base == "" {
		return name
	}
	return path.Join(s.Base, name)
}

// verdict is what a report comes to.
type verdict string

// The verdicts, as JSON has them.
const (
	verdictPassed  verdict = "passed"
	verdictFailed  verdict = "failed"
	verdictErrored verdict = "errored"
)

// verdict fails closed: only what is known to have passed did.
func (r report) verdict() verdict {
	if r.Err != nil {
		return verdictErrored
	}
	worst := verdictPassed
	for _, c := range r.Checks {
		switch c.Status {
		case "passed", "overridden":
		case "failed", "soft_failed", "hard_failed":
			worst = verdictFailed
		default:
			return verdictErrored
		}
	}
	for _, s := range r.Sets {
		counts := s.Count()
		switch {
		case s.Error != "" || counts.Errored > 0 || len(s.Policies) == 0:
			return verdictErrored
		case counts.MandatoryFailed() > 0 && !s.Overridden:
			worst = verdictFailed
		}
	}
	return worst
}

func (r report) exitCode() int {
	switch r.verdict() {
	case verdictPassed:
		return 0
	case verdictFailed:
		return exitFailed
	}
	return exitErrored
}

// erroredChecks are those that say why they have no result as a whole. What a
// policy set or a policy of theirs says is not said twice.
func (r report) erroredChecks() []reportCheck {
	var whole []reportCheck
	for _, c := range r.Checks {
		told := slices.ContainsFunc(r.Sets, func(s reportSet) bool { return s.CheckID == c.ID && s.Count().Errored > 0 })
		if c.ErrorMessage != "" && !told {
			whole = append(whole, c)
		}
	}
	return whole
}

// counts are those of all policies.
func (r report) counts() polset.ResultCounts {
	var all polset.ResultCounts
	for _, s := range r.Sets {
		all.Add(s.Count())
	}
	return all
}

// summary is the report in a sentence.
func (r report) summary() string {
	switch {
	case r.Err != nil:
		return r.Err.Error()
	case len(r.Sets) == 0 && len(r.Checks) == 0:
		return fmt.Sprintf("Nothing was checked: no policy set applies to the workspace %s.", r.Run.workspace())
	}
	if len(r.Sets) == 0 {
		return counted(len(r.Checks), "check") + " without a result."
	}
	policies, silent, by := 0, 0, map[string]int{}
	for _, s := range r.Sets {
		policies += len(s.Policies)
		if s.Error != "" || len(s.Policies) == 0 {
			silent++
		}
		for _, p := range s.Policies {
			by[s.shown(p)]++
		}
	}
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{
		{by["passed"], "passed"},
		{by["advisory-failed"], "failed (advisory)"},
		{by["overridden"], "failed (overridden)"},
		{by["soft-failed"], "failed (may be overridden)"},
		{by["hard-failed"], "failed"},
		{by["errored"], "could not be evaluated"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if silent > 0 {
		parts = append(parts, counted(silent, "policy set")+" could not be evaluated")
	}
	return fmt.Sprintf("%s, %s: %s.", counted(len(r.Sets), "policy set"), plural(policies, "policy", "policies"), strings.Join(parts, ", "))
}

func (r *reportRun) workspace() string { return r.Organization + "/" + r.Workspace }

func counted(n int, what string) string { return plural(n, what, what+"s") }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// result is how a policy ended, with what its level makes of that, as the
// formats write it.
func (s reportSet) result(p polset.PolicyOutcome) string {
	return strings.ReplaceAll(string(s.Result(p)), "_", "-")
}

// shown is the result of a policy, with what somebody made of it since.
func (s reportSet) shown(p polset.PolicyOutcome) string {
	if result := s.result(p); result != "soft-failed" || !s.Overridden {
		return result
	}
	return "overridden"
}

// write writes the report in a format.
func (r report) write(w io.Writer, format string) error {
	switch format {
	case "json":
		return r.writeJSON(w)
	case "sarif":
		return r.writeSARIF(w)
	case "junit":
		return r.writeJUnit(w)
	}
	return r.writeTable(w)
}
