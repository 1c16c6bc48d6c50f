package githubapp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/polset/polset"
)

// annotationsAtOnce is GitHub's limit for one request.
const annotationsAtOnce = 50

// wireCheckRun is what is said of a check run in one request. Annotations are
// added to those that it holds; everything else replaces what was.
type wireCheckRun struct {
	Name        string     `json:"name,omitempty"`
	HeadSHA     string     `json:"head_sha,omitempty"`
	ExternalID  string     `json:"external_id,omitempty"`
	Status      string     `json:"status,omitempty"`
	Conclusion  string     `json:"conclusion,omitempty"`
	StartedAt   string     `json:"started_at,omitempty"`
	CompletedAt string     `json:"completed_at,omitempty"`
	Output      wireOutput `json:"output"`
}

type wireOutput struct {
	Title       string           `json:"title"`
	Summary     string           `json:"summary"`
	Annotations []wireAnnotation `json:"annotations,omitempty"`
}

type wireAnnotation struct {
	Path        string `json:"path"`
	StartLine   int    `json:"start_line"`
	EndLine     int    `json:"end_line"`
	StartColumn int    `json:"start_column,omitempty"`
	EndColumn   int    `json:"end_column,omitempty"`
	Level       string `json:"annotation_level"`
	Message     string `json:"message"`
	Title       string `json:"title,omitempty"`
}

// sendCheckRun makes the check run of a report, or changes the one that there
// is. Annotations beyond a request's limit follow one request after the other.
func (r *Reporter) sendCheckRun(ctx context.Context, report polset.Report, outcome *polset.ReportOutcome) error {
	said := describe(report, r.client.now())
	if said.doubtful(report) {
		if err := r.find(ctx, report, outcome); err != nil {
			return err
		}
	}
	run := wireCheckRun{
		Name:       checkName(report),
		ExternalID: report.ID,
		Status:     said.status,
		Conclusion: said.conclusion,
		StartedAt:  stamp(report.StartedAt),
		Output:     wireOutput{Title: said.title, Summary: said.summary},
	}
	if said.conclusion != "" {
		run.CompletedAt = stamp(said.completedAt)
	}
	for first := true; first || outcome.AnnotatedUpTo < len(said.annotations); first = false {
		from := min(outcome.AnnotatedUpTo, len(said.annotations))
		run.Output.Annotations = said.annotations[from:min(from+annotationsAtOnce, len(said.annotations))]
		err := r.put(ctx, report, run, outcome)
		if first && outcome.CheckRunID != 0 && gone(err) {
			outcome.CheckRunID = 0
			if err := r.find(ctx, report, outcome); err != nil {
				return err
			}
			if outcome.CheckRunID == 0 {
				outcome.AnnotatedUpTo = 0
			}
			from = min(outcome.AnnotatedUpTo, len(said.annotations))
			run.Output.Annotations = said.annotations[from:min(from+annotationsAtOnce, len(said.annotations))]
			err = r.put(ctx, report, run, outcome)
		}
		if err != nil {
			return r.unreported(report, err)
		}
		outcome.AnnotatedUpTo = from + len(run.Output.Annotations)
	}
	return nil
}

// gone reports whether a check run is not there for this App: it went with its
// repository's check suites, or another App made it. Looking tells.
func gone(err error) bool {
	return statusOf(err) == http.StatusNotFound || statusOf(err) == http.StatusForbidden && strings.Contains(saidOf(err), "app_id")
}

// doubtful reports whether GitHub may hold something that the row does not know
// of: a check run that was made without an answer, or annotations. A lease
// after the first says that an earlier attempt may have ended without a word.
func (s saying) doubtful(report polset.Report) bool {
	if report.CheckRunID == 0 || report.AnnotatedUpTo < len(s.annotations) {
		return report.Uncertain || report.LeasedBy > 1
	}
	return false
}

// put sends one request: the check run is made where none is known.
func (r *Reporter) put(ctx context.Context, report polset.Report, run wireCheckRun, outcome *polset.ReportOutcome) error {
	var made struct {
		ID int64 `json:"id"`
	}
	q := question{
		operation: "create-check-run", doing: "make a check run on " + report.Remote.Identifier,
		method: http.MethodPost, path: "/check-runs", mutates: true, into: &made,
	}
	if outcome.CheckRunID == 0 {
		run.HeadSHA = report.Commit
	} else {
		q.operation, q.doing = "update-check-run", "change the check run on "+report.Remote.Identifier
		q.method, q.path = http.MethodPatch, "/check-runs/"+strconv.FormatInt(outcome.CheckRunID, 10)
	}
	q.body = run
	_, err := r.client.ask(ctx, report.Remote, toReport, q)
	if err != nil {
		// To repeat a change is harmless, unless it adds annotations.
		if mayHaveTaken(err) && (outcome.CheckRunID == 0 || len(run.Output.Annotations) > 0) {
			outcome.Uncertain = true
		}
		return err
	}
	switch {
	case made.ID != 0:
		outcome.CheckRunID = made.ID
	case outcome.CheckRunID == 0:
		outcome.Uncertain = true
		return &polset.Failure{
			Class: polset.ClassTimeout, Retry: true,
			Message: "GitHub answered without the number of the new check run on " + report.Remote.Identifier + ".",
		}
	}
	outcome.Uncertain = false
	return nil
}

// find looks for the report's check run among those of the commit.
func (r *Reporter) find(ctx context.Context, report polset.Report, outcome *polset.ReportOutcome) error {
	app, err := r.client.apps.get(ctx, false)
	if err != nil {
		return noApp(err)
	}
	query := url.Values{
		"check_name": {checkName(report)}, "app_id": {strconv.FormatInt(app.ID, 10)},
		"filter": {"all"}, "per_page": {"30"}, // each may hold a long summary
	}
	err = each(query, func(query url.Values) (*answer, bool, error) {
		var page struct {
			CheckRuns []struct {
				ID         int64  `json:"id"`
				ExternalID string `json:"external_id"`
				Output     struct {
					AnnotationsCount int `json:"annotations_count"`
				} `json:"output"`
			} `json:"check_runs"`
		}
		a, err := r.client.ask(ctx, report.Remote, toReport, question{
			operation: "list-check-runs", doing: "look for a check run on " + report.Remote.Identifier,
			method: http.MethodGet, path: "/commits/" + url.PathEscape(report.Commit) + "/check-runs", query: query, into: &page,
		})
		for _, run := range page.CheckRuns {
			if run.ExternalID == report.ID {
				outcome.CheckRunID, outcome.AnnotatedUpTo = run.ID, run.Output.AnnotationsCount
				return a, false, err
			}
		}
		return a, true, err
	})
	if err != nil {
		return r.unreported(report, err)
	}
	return nil
}

// replicaLag is for how long GitHub may not know everywhere of a commit that
// was pushed.
const replicaLag = 10 * time.Minute

// unreported says what it means that GitHub does not take a report.
func (r *Reporter) unreported(report polset.Report, err error) error {
	if polset.FailureOf(err).Retry {
		return err
	}
	switch status := statusOf(err); {
	case status == http.StatusUnprocessableEntity && strings.Contains(saidOf(err), "no commit found") &&
		r.client.now().Sub(report.CreatedAt) < replicaLag:
		return &polset.Failure{
			Class: polset.ClassCommitNotFound, Retry: true, Err: err,
			Message: fmt.Sprintf("GitHub does not find the commit %s of %s yet.", report.Commit, report.Remote.Identifier),
		}
	case status == http.StatusForbidden && strings.Contains(saidOf(err), "archived"):
		return means(err, polset.ClassAuth, "GitHub takes no more reports on %s, because the repository is archived.", report.Remote.Identifier)
	case status == http.StatusForbidden, status == http.StatusNotFound:
		needs := "the permission checks: write of the installation; accept the App's new permissions on GitHub, or add the repository to the installation"
		if report.Remote.Installation == 0 {
			needs = "a token with the scope repo:status (classic), or with Commit statuses: read and write (fine-grained)"
		}
		return means(err, polset.ClassAuth, "GitHub does not let polset say on %s what became of %s: it needs %s.",
			report.Remote.Identifier, report.Commit, needs)
	case status == http.StatusUnprocessableEntity:
		return means(err, polset.ClassInternal, "GitHub does not take what polset says of %s on %s: the commit may be gone, or the limit of 1,000 statuses for a commit and a context is reached.",
			report.Commit, report.Remote.Identifier)
	}
	return err
}

// maxCheckName is GitHub's limit for the context of a commit status, in
// characters.
const maxCheckName = 255

// checkName is the name of a report's check run, and the context of its commit
// status. Names that are too long are cut, and stay different by their sums.
func checkName(report polset.Report) string {
	name, suffix := "polset/"+line(report.Organization)+"/"+line(report.PolicySet), ""
	if report.PullRequest != 0 {
		suffix = " (pull request)"
	}
	if len(name)+len(suffix) > maxCheckName {
		sum := sha256.Sum256([]byte(name))
		mark := hex.EncodeToString(sum[:4])
		name = cutBytes(name, maxCheckName-len(suffix)-len(mark)) + mark
	}
	return name + suffix
}

// stamp is a time as GitHub writes it; "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
