package githubapp

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain words":            "plain words",
		"a|b":                    `a\|b`,
		"*bold* _it_ `code`":     "\\*bold\\* \\_it\\_ \\`code\\`",
		"<img src=x onerror=y>":  `&lt;img src\=x onerror\=y&gt;`,
		"&lt;":                   `&amp;lt\;`,
		"[x](https://evil.test)": `\[x\]\(https\:\/\/evil\.test\)`,
		"www.evil.test":          `www\.evil\.test`,
		"@octocat and #12":       "\\@\u200boctocat and \\#\u200b12",
		"a\nb\r\n\tc":            "a b c",
		"zero\x00\x1b[31m":       `zero\[31m`,
		"right\u202eleft\u2066":  "rightleft",
		"bad\xffutf8":            "bad\uFFFDutf8",
		"# heading":              "\\#\u200b heading",
		"naïve – ünïcode ✓":      "naïve – ünïcode ✓",
	} {
		if got := text(in); got != want {
			t.Errorf("text(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestCode(t *testing.T) {
	for in, want := range map[string]string{
		"":                "",
		"policy":          "`policy`",
		"a|b":             "`a\\|b`",
		"has `ticks`":     "`` has `ticks` ``",
		"```":             "```` ``` ````",
		"two\nlines":      "`two lines`",
		"@octocat <b>":    "`@octocat <b>`",
		"| `x` | injects": "``\\| `x` \\| injects``",
	} {
		if got := code(in); got != want {
			t.Errorf("code(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	if got := cut("äöü", 3); got != "äöü" {
		t.Errorf("%q", got)
	}
	if got := cut("äöüß", 3); got != "äö…" {
		t.Errorf("%q", got)
	}
	if got := cutBytes("äöüß", 6); got != "ä…" || len(got) > 6 {
		t.Errorf("%q", got)
	}
	if got := cutBytes("äöü", 6); got != "äöü" {
		t.Errorf("%q", got)
	}
}

const hostile = "evil\n| x | y |\n<script>@octocat ```\n# Weaker: nothing"

// TestHostileNames shows that what a repository says of itself stays inside its
// cell.
func TestHostileNames(t *testing.T) {
	version := readyVersion(hostile)
	version.Artifact.Policies[0].EnforcementLevel = hostile
	broken := failedVersion(1)
	broken.ErrorMessage, broken.Diagnostics[0].Message, broken.Diagnostics[0].File = hostile, hostile, "a|b\n@octocat"
	change := polset.PolicyChange{Policy: hostile, Kind: polset.PolicyChanged, From: hostile, To: hostile, Weaker: true, File: "a", Line: 1}
	for name, report := range map[string]polset.Report{
		"versioned": {Status: polset.ReportVersioned, Version: version, PolicySet: hostile, Organization: hostile},
		"failed":    {Status: polset.ReportFailed, Version: broken, PolicySet: hostile},
		"ignored":   {Status: polset.ReportIgnored, Reason: hostile},
		"pending":   {Status: polset.ReportPending, Reason: hostile},
		"deleted":   {Status: polset.ReportDeleted, PolicySet: hostile},
		"compared": {Status: polset.ReportCompared, PullRequest: 1, DryRun: &polset.DryRun{Comparison: &polset.Comparison{
			Against: "polsetver-1", Changes: []polset.PolicyChange{change},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := describe(report, time.Now())
			if strings.ContainsAny(s.title, "\n\r") {
				t.Errorf("title %q has lines", s.title)
			}
			rest := withoutCode(s.summary)
			noneOf(t, rest, "<script", "@octocat", "\n# ", "```")
			for l := range strings.SplitSeq(s.summary, "\n") {
				cells := strings.ReplaceAll(l, `\|`, "")
				if n := strings.Count(cells, "|"); n != 0 && n != 3 && n != 5 {
					t.Errorf("line %q has %d bars", l, n)
				}
			}
			for _, a := range s.annotations {
				if a.Path == "" || a.StartLine < 1 || a.Message == "" {
					t.Errorf("annotation %+v", a)
				}
			}
			_, description := describeShort(report)
			if n := utf8.RuneCountInString(description); n > maxDescription || strings.Contains(description, "\n") {
				t.Errorf("description has %d characters: %q", n, description)
			}
		})
	}
}

// withoutCode takes code spans out of Markdown, as CommonMark finds them.
func withoutCode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == '\\' && i+1 < len(s) {
			b.WriteString(s[i : i+2])
			i += 2
			continue
		}
		if s[i] != '`' {
			b.WriteByte(s[i])
			i++
			continue
		}
		n := len(s[i:]) - len(strings.TrimLeft(s[i:], "`"))
		end := -1
		for j := i + n; j < len(s); {
			if s[j] != '`' {
				j++
				continue
			}
			m := len(s[j:]) - len(strings.TrimLeft(s[j:], "`"))
			if m == n {
				end = j + m
				break
			}
			j += m
		}
		if end < 0 {
			b.WriteString(s[i : i+n])
			i += n
			continue
		}
		i = end
	}
	return b.String()
}

func TestLimitsOfGitHub(t *testing.T) {
	many := readyVersion()
	for i := range 5000 {
		many.Artifact.Policies = append(many.Artifact.Policies, polset.PolicySummary{Name: fmt.Sprintf("policy-%d", i), EnforcementLevel: "advisory"})
	}
	long := failedVersion(100)
	long.ErrorMessage = strings.Repeat("<ü>", 100_000)
	for i := range long.Diagnostics {
		long.Diagnostics[i].Message = strings.Repeat("ü", 100_000)
	}
	var weak []polset.PolicyChange
	for i := range 3000 {
		weak = append(weak, polset.PolicyChange{Policy: fmt.Sprintf("%d-%s", i, strings.Repeat("n", 500)), Kind: polset.PolicyRemoved, From: "hard-mandatory", Weaker: true, File: "p.hcl", Line: i})
	}
	for name, report := range map[string]polset.Report{
		"many policies":   {Status: polset.ReportVersioned, Version: many},
		"long messages":   {Status: polset.ReportFailed, Version: long},
		"many weaker":     {Status: polset.ReportCompared, DryRun: &polset.DryRun{Comparison: &polset.Comparison{Changes: weak}}},
		"long set's name": {Status: polset.ReportIgnored, PolicySet: strings.Repeat("n", 1000), Reason: strings.Repeat("@", 100_000), PullRequest: 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := describe(report, time.Now())
			if len(s.summary) > maxSummary || s.summary == "" {
				t.Errorf("summary has %d bytes", len(s.summary))
			}
			if n := utf8.RuneCountInString(s.title); n > maxTitle || n == 0 {
				t.Errorf("title has %d characters", n)
			}
			if _, description := describeShort(report); utf8.RuneCountInString(description) > maxDescription {
				t.Errorf("description %q", description)
			}
			if n := utf8.RuneCountInString(checkName(report)); n > maxTitle {
				t.Errorf("name has %d characters", n)
			}
			for _, a := range s.annotations {
				if len(a.Message) > maxAnnotationMessage || !utf8.ValidString(a.Message) {
					t.Errorf("message has %d bytes", len(a.Message))
				}
			}
			if len(s.annotations) > maxAnnotations {
				t.Errorf("%d annotations", len(s.annotations))
			}
			if report.Version == many {
				holds(t, s.summary, "for which there is no room here")
			}
		})
	}
}

func TestAnnotationPlaces(t *testing.T) {
	for _, test := range []struct {
		file      string
		line, col int
		want      *wireAnnotation // nil: left out
	}{
		{"a/b.rego", 3, 4, &wireAnnotation{Path: "a/b.rego", StartLine: 3, EndLine: 3, StartColumn: 4, EndColumn: 4}},
		{"a.rego", 0, 9, &wireAnnotation{Path: "a.rego", StartLine: 1, EndLine: 1}},
		{"a.rego", -3, 0, &wireAnnotation{Path: "a.rego", StartLine: 1, EndLine: 1}},
		{"a.rego", 2, 0, &wireAnnotation{Path: "a.rego", StartLine: 2, EndLine: 2}},
		{"", 1, 1, nil},
		{"/etc/passwd", 1, 1, nil},
		{"../a", 1, 1, nil},
		{"a/../../b", 1, 1, nil},
		{"a//b", 1, 1, nil},
		{strings.Repeat("a", 2000), 1, 1, nil},
	} {
		got := annotate(nil, test.file, test.line, test.col, "failure", "t", "m")
		if test.want == nil {
			if len(got) != 0 {
				t.Errorf("%q is annotated: %+v", test.file, got)
			}
			continue
		}
		test.want.Level, test.want.Title, test.want.Message = "failure", "t", "m"
		if diff := cmp.Diff([]wireAnnotation{*test.want}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.file, diff)
		}
	}
}

func TestSayings(t *testing.T) {
	comparison := func(changes ...polset.PolicyChange) *polset.DryRun {
		return &polset.DryRun{Comparison: &polset.Comparison{Against: "polsetver-9", Policies: 4, Changes: changes}}
	}
	lower := polset.PolicyChange{Policy: "cidr", Kind: polset.PolicyChanged, From: "hard-mandatory", To: "advisory", Weaker: true, File: "p/policies.hcl", Line: 9}
	gone := polset.PolicyChange{Policy: "tags", Kind: polset.PolicyRemoved, From: "soft-mandatory", Weaker: true}
	added := polset.PolicyChange{Policy: "new", Kind: polset.PolicyAdded, To: "advisory"}
	for _, test := range []struct {
		name              string
		report            polset.Report
		conclusion, title string
		state             string // of a commit status
		first             string // the summary's beginning
		parts             []string
		annotations       int
	}{
		{
			"unchanged",
			polset.Report{Status: polset.ReportUnchanged, PolicySet: "net", Version: readyVersion("a")},
			"success", "Unchanged: 1 policy", "success", "What counts at this commit is that of the version `polsetver-1`",
			[]string{"There is no new version."},
			0,
		},
		{
			"ignored",
			polset.Report{Status: polset.ReportIgnored, Reason: "Another commit came."},
			"neutral", "Ignored", "success", `Another commit came\.`, nil, 0,
		},
		{
			"deleted",
			polset.Report{Status: polset.ReportDeleted, PolicySet: "net"},
			"cancelled", "The policy set was deleted", "error", "The policy set `net` was deleted", nil, 0,
		},
		{
			"tried again",
			polset.Report{Status: polset.ReportPending, StartedAt: time.Now(), Reason: "timeout: It took too long."},
			"", "polset is reading the policies", "pending", "",
			[]string{`polset will try again: timeout\: It took too long\.`},
			0,
		},
		{
			"failed by the commit",
			polset.Report{Status: polset.ReportFailed, PolicySet: "net", Version: failedVersion(2)},
			"failure", "policy-invalid: The policy a.rego does not compile: line 3.", "failure", `**policy\-invalid**: The policy`,
			[]string{"| `policies/a.rego:1` | problem 0 |", "stays in force"},
			2,
		},
		{
			"failed on the way",
			polset.Report{Status: polset.ReportFailed, Version: &polset.Version{Error: polset.ClassAuth, ErrorMessage: "No."}},
			"failure", "auth: No.", "error", `**auth**: No\.`, nil, 0,
		},
		{
			"a pull request that fails",
			polset.Report{Status: polset.ReportFailed, PullRequest: 3, DryRun: &polset.DryRun{
				Error: polset.ClassPathNotFound, ErrorMessage: "There is no p.", Diagnostics: []polset.Diagnostic{{File: "x", Message: "m"}},
			}},
			"failure", "path-not-found: There is no p.", "failure", "",
			[]string{"If it were merged", "| `x` | m |"},
			1,
		},
		{
			"a pull request that weakens",
			polset.Report{Status: polset.ReportCompared, PullRequest: 3, PolicySet: "net", DryRun: comparison(added, lower, gone)},
			"neutral", "Weaker: 2 policies (1 added, 1 removed, 1 changed)", "success",
			"**Weaker: `cidr`: hard\\-mandatory before, advisory after; `tags`: it was soft\\-mandatory and is removed**\n\nCompared with the version `polsetver-9`",
			[]string{"| `cidr` | **changed, weaker** | hard\\-mandatory | advisory |\n| `tags` | **removed, weaker** | soft\\-mandatory |  |\n| `new` | added |  | advisory |"},
			1,
		},
		{
			"a pull request that adds",
			polset.Report{Status: polset.ReportCompared, PullRequest: 3, DryRun: comparison(added)},
			"success", "1 added", "success", "Compared with", nil, 0,
		},
		{
			"a pull request that changes nothing",
			polset.Report{Status: polset.ReportCompared, PullRequest: 3, DryRun: comparison()},
			"success", "Nothing changes", "success", "Compared with",
			[]string{"it holds 4 policies."},
			0,
		},
		{
			"a pull request of a fork, without its submodules",
			polset.Report{Status: polset.ReportCompared, PullRequest: 3, DryRun: &polset.DryRun{
				Comparison: &polset.Comparison{Against: "polsetver-9", Changes: []polset.PolicyChange{gone}, WithoutSubmodules: true},
			}},
			"neutral", "Weaker: 1 policy (1 removed)", "success", "**Weaker: `tags`",
			[]string{"The commit is of a fork, so its submodules were not read: what they hold counts as removed."},
			0,
		},
		{
			"the first pull request",
			polset.Report{Status: polset.ReportCompared, PullRequest: 3, PolicySet: "net", DryRun: &polset.DryRun{Comparison: &polset.Comparison{Files: true}}},
			"success", "No policy changes, but files do", "success", "No version of the policy set `net` is in force yet.",
			[]string{"Files change"},
			0,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := describe(test.report, time.Now())
			if s.conclusion != test.conclusion || s.title != test.title || len(s.annotations) != test.annotations {
				t.Errorf("conclusion %q, title %q, %d annotations", s.conclusion, s.title, len(s.annotations))
			}
			if !strings.HasPrefix(s.summary, test.first) {
				t.Errorf("summary %q does not begin with %q", s.summary, test.first)
			}
			for _, part := range test.parts {
				holds(t, s.summary, part)
			}
			if state, _ := describeShort(test.report); state != test.state {
				t.Errorf("state is %s, want %s", state, test.state)
			}
			if (s.status == "completed") != (s.conclusion != "") || s.summary == "" {
				t.Errorf("status %s, conclusion %q, summary %q", s.status, s.conclusion, s.summary)
			}
		})
	}
}

// TestEverySaying shows that rows without facts still say something.
func TestEverySaying(t *testing.T) {
	for _, status := range []polset.ReportStatus{
		polset.ReportPending, polset.ReportRunning, polset.ReportVersioned, polset.ReportUnchanged, polset.ReportFailed,
		polset.ReportIgnored, polset.ReportCompared, polset.ReportDeleted, "unheard-of",
	} {
		for _, number := range []int{0, 7} {
			report := polset.Report{Status: status, PullRequest: number}
			s := describe(report, time.Now())
			if s.title == "" || s.summary == "" || s.conclusion != "" && s.completedAt.IsZero() {
				t.Errorf("%s says %+v", status, s)
			}
			if state, description := describeShort(report); state == "" || description == "" {
				t.Errorf("%s is %q: %q", status, state, description)
			}
		}
	}
}
