package githubapp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
)

// maxLoud is how many weaker policies the first line names; all are in the
// table.
const maxLoud = 20

// comparisonTitle says what a pull request would change, the weaker first.
func comparisonTitle(report polset.Report) string {
	if report.DryRun == nil || report.DryRun.Comparison == nil {
		return "polset does not know what would change"
	}
	c := report.DryRun.Comparison
	var parts []string
	for _, kind := range []polset.ChangeKind{polset.PolicyAdded, polset.PolicyRemoved, polset.PolicyChanged} {
		n := 0
		for _, change := range c.Changes {
			if change.Kind == kind {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	summary := strings.Join(parts, ", ")
	switch {
	case summary == "" && c.Files:
		summary = "No policy changes, but files do"
	case summary == "":
		summary = "Nothing changes"
	}
	if n := len(weaker(report)); n > 0 {
		return fmt.Sprintf("Weaker: %s (%s)", count(n, "policy", "policies"), summary)
	}
	return summary
}

// describeComparison says what a pull request would change. The weaker come
// first and loudest.
func describeComparison(p *page, report polset.Report) []wireAnnotation {
	if report.DryRun == nil || report.DryRun.Comparison == nil {
		p.add("polset does not know what would change of the policy set %s.", code(report.PolicySet))
		return nil
	}
	c := report.DryRun.Comparison
	var annotations []wireAnnotation
	if list := weaker(report); len(list) > 0 {
		p.add("**%s**", loud(list))
		for _, change := range list {
			annotations = annotate(annotations, change.File, change.Line, 0, "warning", "Weaker",
				fmt.Sprintf("The policy %s becomes weaker: %s.", line(cut(change.Policy, maxName)), weakening(change, line)))
		}
	}
	if c.Against == "" {
		p.add("No version of the policy set %s is in force yet.", code(report.PolicySet))
	} else {
		p.add("Compared with the version %s, which is in force of the policy set %s.", code(c.Against), code(report.PolicySet))
	}
	p.add("With the change it holds %s.", count(c.Policies, "policy", "policies"))
	if c.Files {
		p.add("Files change that belong to no policy that polset could tell.")
	}
	if c.WithoutSubmodules {
		p.add("The commit is of a fork, so its submodules were not read: what they hold counts as removed.")
	}
	if len(c.Changes) == 0 {
		return nil
	}
	changes := slices.Clone(c.Changes)
	slices.SortStableFunc(changes, func(a, b polset.PolicyChange) int {
		switch {
		case a.Weaker == b.Weaker:
			return 0
		case a.Weaker:
			return -1
		}
		return 1
	})
	t := p.table("Policy", "Change", "Before", "After")
	for _, change := range changes {
		what := text(string(change.Kind))
		if change.Weaker {
			what = "**" + what + ", weaker**"
		}
		t.row(code(cut(change.Policy, maxName)), what, text(cut(change.From, maxLevel)), text(cut(change.To, maxLevel)))
	}
	t.end()
	return annotations
}

// loud names the weaker policies with their levels before and after.
func loud(list []polset.PolicyChange) string {
	var parts []string
	for _, change := range list[:min(len(list), maxLoud)] {
		parts = append(parts, fmt.Sprintf("%s: %s", code(cut(change.Policy, maxName)), weakening(change, text)))
	}
	if more := len(list) - maxLoud; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return "Weaker: " + strings.Join(parts, "; ")
}

// weakening says how a policy becomes weaker.
func weakening(change polset.PolicyChange, escape func(string) string) string {
	if change.Kind == polset.PolicyRemoved {
		return fmt.Sprintf("it was %s and is removed", escape(cut(change.From, maxLevel)))
	}
	return fmt.Sprintf("%s before, %s after", escape(cut(change.From, maxLevel)), escape(cut(change.To, maxLevel)))
}
