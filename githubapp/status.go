package githubapp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/polset/polset"
)

// maxDescription is GitHub's limit for a commit status, in characters.
const maxDescription = 140

// sendStatus adds a commit status: the newest of a context is the one that
// counts, so that to repeat one is harmless.
func (r *Reporter) sendStatus(ctx context.Context, report polset.Report) error {
	state, description := describeShort(report)
	_, err := r.client.ask(ctx, report.Remote, toReport, question{
		operation: "create-status", doing: "set a commit status on " + report.Remote.Identifier,
		method: http.MethodPost, path: "/statuses/" + url.PathEscape(report.Commit), mutates: true,
		body: map[string]string{"state": state, "description": description, "context": checkName(report)},
	})
	if err != nil {
		return r.unreported(report, err)
	}
	return nil
}

// describeShort says in one line what became of a commit. A commit status has
// no neutral state: what is ignored, or only warned of, does not stop anybody.
func describeShort(report polset.Report) (state, description string) {
	switch report.Status {
	case polset.ReportPending, polset.ReportRunning:
		state, description = "pending", "polset is reading the policies"
		if report.Reason != "" {
			description = "polset will try again: " + report.Reason
		}
	case polset.ReportVersioned, polset.ReportUnchanged:
		state, description = "success", title(report)
	case polset.ReportFailed:
		class, message, _ := failed(report)
		state, description = "error", fmt.Sprintf("%s: %s", class, message)
		if ofCommit(class) {
			state = "failure"
		}
	case polset.ReportIgnored:
		state, description = "success", "Ignored: "+report.Reason
	case polset.ReportCompared:
		state, description = "success", title(report)
	case polset.ReportDeleted:
		state, description = "error", "The policy set was deleted"
	default:
		state, description = "error", "polset does not know what became of this commit"
	}
	return state, cut(line(description), maxDescription)
}

// ofCommit reports whether the class says something of the commit, and not of
// the way to it.
func ofCommit(class polset.Class) bool {
	switch class {
	case polset.ClassPathNotFound, polset.ClassPathNotDirectory, polset.ClassLimit, polset.ClassEmptyRepository:
		return true
	}
	return class.OfContent()
}
