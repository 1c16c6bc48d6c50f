package githubapp

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/polset/polset"
)

// GitHub's limits, and polset's own for annotations. The limit of a summary is
// in characters there; bytes are never fewer.
const (
	maxTitle             = 255
	maxSummary           = 65_535
	maxAnnotationMessage = 64 << 10
	maxAnnotations       = 100
	maxName              = 200   // of a policy or a file, as it is shown
	maxLevel             = 100   // of the name of an enforcement level
	maxSentence          = 4_000 // of a reason or message in a summary
)

// A saying is what a check run shows.
type saying struct {
	status      string // queued, in_progress or completed
	conclusion  string // "" until it is completed
	completedAt time.Time
	title       string
	summary     string // Markdown
	annotations []wireAnnotation
}

// describe puts a report into words.
func describe(report polset.Report, now time.Time) saying {
	s := saying{status: "completed", title: cut(line(title(report)), maxTitle), completedAt: report.EndedAt}
	if s.completedAt.IsZero() {
		s.completedAt = now
	}
	var p page
	switch report.Status {
	case polset.ReportPending, polset.ReportRunning:
		s.status = "in_progress"
		if report.Status == polset.ReportPending && report.StartedAt.IsZero() {
			s.status = "queued"
		}
		p.add("The policy set %s of the organization %s follows this branch.", code(report.PolicySet), code(report.Organization))
		if report.Reason != "" {
			p.add("polset will try again: %s", text(cut(report.Reason, maxSentence)))
		}
	case polset.ReportVersioned, polset.ReportUnchanged:
		s.conclusion = "success"
		describeVersion(&p, report)
	case polset.ReportFailed:
		s.conclusion = "failure"
		s.annotations = describeFailure(&p, report)
	case polset.ReportIgnored:
		s.conclusion = "neutral"
		p.add("%s", text(cut(cmp.Or(report.Reason, "This commit does not matter to the policy set."), maxSentence)))
	case polset.ReportCompared:
		s.conclusion = "success"
		if len(weaker(report)) > 0 {
			// Not a failure: where this check is required, weakening a policy
			// must remain possible. It must not go unseen.
			s.conclusion = "neutral"
		}
		s.annotations = describeComparison(&p, report)
	default:
		s.conclusion = "cancelled"
		p.add("The policy set %s was deleted before polset was done with this commit.", code(report.PolicySet))
	}
	s.summary = p.String()
	return s
}

// title says in a few words what became of a commit. It is not Markdown.
func title(report polset.Report) string {
	policies := 0
	if report.Version != nil {
		policies = len(report.Version.Artifact.Policies)
	}
	switch report.Status {
	case polset.ReportPending, polset.ReportRunning:
		return "polset is reading the policies"
	case polset.ReportVersioned:
		return "A new version with " + count(policies, "policy", "policies")
	case polset.ReportUnchanged:
		return "Unchanged: " + count(policies, "policy", "policies")
	case polset.ReportFailed:
		class, message, _ := failed(report)
		return fmt.Sprintf("%s: %s", class, message)
	case polset.ReportIgnored:
		return "Ignored"
	case polset.ReportCompared:
		return comparisonTitle(report)
	}
	return "The policy set was deleted"
}

func describeVersion(p *page, report polset.Report) {
	v := report.Version
	if v == nil {
		p.add("This commit is a version of the policy set %s.", code(report.PolicySet))
		return
	}
	a := v.Artifact
	what := fmt.Sprintf("%s in %s", count(len(a.Policies), "policy", "policies"), count(a.Files, "file", "files"))
	if report.Status == polset.ReportUnchanged {
		p.add("What counts at this commit is that of the version %s of the policy set %s (commit %s): %s. There is no new version.",
			code(v.ID), code(report.PolicySet), code(v.Commit), what)
	} else {
		p.add("The version %s of the policy set %s in the organization %s is ready: %s.",
			code(v.ID), code(report.PolicySet), code(report.Organization), what)
	}
	if a.Digest != "" {
		p.add("The sha256 of the archive is %s.", code(a.Digest))
	}
	if len(a.Policies) == 0 {
		return
	}
	t := p.table("Policy", "Enforcement level")
	for _, one := range a.Policies {
		t.row(code(cut(one.Name, maxName)), text(cut(one.EnforcementLevel, maxLevel)))
	}
	t.end()
}

// failed returns why a commit gives no version, from the version or the dry run.
func failed(report polset.Report) (polset.Class, string, []polset.Diagnostic) {
	switch {
	case report.DryRun != nil:
		return report.DryRun.Error, report.DryRun.ErrorMessage, report.DryRun.Diagnostics
	case report.Version != nil:
		return report.Version.Error, report.Version.ErrorMessage, report.Version.Diagnostics
	}
	return polset.ClassInternal, "polset could not process this commit; its log says why.", nil
}

func describeFailure(p *page, report polset.Report) []wireAnnotation {
	class, message, diagnostics := failed(report)
	p.add("**%s**: %s", text(string(class)), text(cut(message, maxSentence)))
	if report.PullRequest == 0 {
		p.add("What was in force of the policy set %s stays in force.", code(report.PolicySet))
	} else {
		p.add("If it were merged, there would be no new version of the policy set %s.", code(report.PolicySet))
	}
	var annotations []wireAnnotation
	for _, d := range diagnostics {
		annotations = annotate(annotations, d.File, d.Line, d.Column, "failure", string(class), cmp.Or(d.Message, message))
	}
	if n := len(diagnostics); n > 0 {
		t := p.table("Where", "What")
		for _, d := range diagnostics {
			where := cut(d.File, maxName)
			if d.Line > 0 {
				where = fmt.Sprintf("%s:%d", where, d.Line)
			}
			t.row(code(where), text(cut(d.Message, maxSentence)))
		}
		t.end()
	}
	return annotations
}

// annotate appends a remark at a place of the commit. One without a place that
// GitHub knows, and one beyond the limit, is left out.
func annotate(list []wireAnnotation, file string, at, column int, level, title, message string) []wireAnnotation {
	if file == "" || len(file) > 1024 || path.IsAbs(file) || path.Clean(file) != file || strings.HasPrefix(file, "../") || file == ".." ||
		len(list) == maxAnnotations {
		return list
	}
	a := wireAnnotation{
		Path: file, StartLine: max(at, 1), Level: level,
		Title: cut(line(title), maxTitle), Message: cutBytes(plain(message), maxAnnotationMessage),
	}
	a.EndLine = a.StartLine
	if at > 0 && column > 0 {
		a.StartColumn, a.EndColumn = column, column
	}
	return append(list, a)
}

// plain returns s without what is not text; its lines stay.
func plain(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		indent := len(l) - len(strings.TrimLeft(l, " "))
		lines[i] = strings.Repeat(" ", indent) + line(l)
	}
	return cmp.Or(strings.Trim(strings.Join(lines, "\n"), "\n"), "polset has no words for it.")
}

// count says how many there are.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// weaker lists the changes of a comparison that stop less than before.
func weaker(report polset.Report) []polset.PolicyChange {
	if report.DryRun == nil || report.DryRun.Comparison == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(report.DryRun.Comparison.Changes), func(c polset.PolicyChange) bool { return !c.Weaker })
}
