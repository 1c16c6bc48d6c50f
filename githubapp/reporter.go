package githubapp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// Reports are what GitHub shall show on commits.
type Reports interface {
	// ClaimReports leases up to n reports that are due.
	ClaimReports(ctx context.Context, n int, ttl time.Duration) ([]polset.Report, error)
	// SettleReport writes what became of one; ErrFenced says that the lease is
	// lost.
	SettleReport(ctx context.Context, outcome polset.ReportOutcome) error
}

// ReporterConfig is what a Reporter needs. Client and Reports are required.
type ReporterConfig struct {
	Client  *Client
	Reports Reports
	Pace
	Logger     *zap.Logger           // nil logs nothing
	Registerer prometheus.Registerer // nil registers no metrics
}

// A Reporter makes the check runs and commit statuses on GitHub equal to the
// reports.
type Reporter struct {
	client   *Client
	reports  Reports
	loop     *loop[polset.Report]
	log      *zap.Logger
	outcomes *prometheus.CounterVec
	hourly   *hourly
}

// NewReporter returns a reporter.
func NewReporter(c ReporterConfig) (*Reporter, error) {
	if c.Client == nil || c.Reports == nil {
		return nil, errors.New("githubapp: a reporter needs Client and Reports")
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	r := &Reporter{
		client:  c.Client,
		reports: c.Reports,
		log:     c.Logger,
		hourly:  newHourly(c.Client.now),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_reports_total",
			Help: "Attempts to say on a commit what became of it: sent, retried or given-up.",
		}, []string{"outcome"}),
	}
	r.loop = &loop[polset.Report]{
		Pace: c.withDefaults(), what: "reports", claim: c.Reports.ClaimReports, work: r.work, log: c.Logger,
	}
	if c.Registerer != nil {
		if err := c.Registerer.Register(r.outcomes); err != nil {
			return nil, fmt.Errorf("register the metrics of reports: %w", err)
		}
	}
	return r, nil
}

// Run sends reports until the context ends.
func (r *Reporter) Run(ctx context.Context) { r.loop.run(ctx) }

// Step claims reports once, and returns when each of them is settled.
func (r *Reporter) Step(ctx context.Context) (int, error) { return r.loop.step(ctx) }

// work sends one report and settles it.
func (r *Reporter) work(ctx context.Context, report polset.Report) {
	outcome := polset.ReportOutcome{
		ID: report.ID, LeasedBy: report.LeasedBy,
		CheckRunID: report.CheckRunID, Uncertain: report.Uncertain, AnnotatedUpTo: report.AnnotatedUpTo,
	}
	err := guarded(func() error { return r.send(ctx, report, &outcome) })
	if err == nil {
		outcome.Revision, outcome.Uncertain = report.Revision, false
	} else {
		outcome.Failure = failureOf(ctx, err)
	}
	r.tell(report, outcome, err)

	rows, cancel := lastWord(ctx)
	defer cancel()
	switch err := r.reports.SettleReport(rows, outcome); {
	case errors.Is(err, polset.ErrFenced):
		r.log.Debug("report passed to another worker", zap.String("report", report.ID))
	case err != nil:
		r.log.Warn("settle report", zap.String("report", report.ID), zap.Error(err))
	}
}

// send makes GitHub equal to one report, and notes in the outcome what it
// learns on the way.
func (r *Reporter) send(ctx context.Context, report polset.Report, outcome *polset.ReportOutcome) error {
	switch {
	case report.Remote.Installation != 0:
		return r.sendCheckRun(ctx, report, outcome)
	case !report.Remote.Token.Empty():
		return r.sendStatus(ctx, report)
	}
	return polset.Fail(polset.ClassAuth, "There is no credential with which polset could say on GitHub what became of %s.", report.Commit)
}

// tell logs and counts an outcome.
func (r *Reporter) tell(report polset.Report, outcome polset.ReportOutcome, err error) {
	log := r.log.With(
		zap.String("report", report.ID), zap.Int64("revision", report.Revision), zap.Int64("lease", report.LeasedBy),
		zap.String("policy_set", report.PolicySetID), zap.String("repo", report.Remote.Identifier),
		zap.String("commit", report.Commit), zap.String("status", string(report.Status)))
	if err != nil {
		log = log.With(zap.String("class", string(outcome.Failure.Class)), zap.Error(err))
	}
	switch f := outcome.Failure; {
	case f == nil:
		r.outcomes.WithLabelValues("sent").Inc()
		if report.Status.Final() {
			log.Info("report sent")
		} else {
			log.Debug("report sent")
		}
	case f.Retry:
		r.outcomes.WithLabelValues("retried").Inc()
		log.Info("report to be tried again", zap.Duration("after", f.RetryAfter))
	default:
		r.outcomes.WithLabelValues("given-up").Inc()
		// Of a credential without the right, each commit would say the same.
		if r.hourly.first(credentialOf(report.Remote)) {
			log.Info("report given up")
		} else {
			log.Debug("report given up")
		}
	}
}

// credentialOf names the credential of a remote, for the memory of this process
// only.
func credentialOf(r polset.Remote) string {
	if r.Installation != 0 {
		return fmt.Sprintf("installation %d", r.Installation)
	}
	return r.Token.Reveal()
}

// hourly knows what was said within the last hour.
type hourly struct {
	now  func() time.Time
	mu   sync.Mutex
	said map[string]time.Time
}

func newHourly(now func() time.Time) *hourly { return &hourly{now: now, said: map[string]time.Time{}} }

// first reports whether a key was not said for an hour, and notes that it is
// now.
func (h *hourly) first(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	for k, at := range h.said {
		if now.Sub(at) >= time.Hour {
			delete(h.said, k)
		}
	}
	if _, ok := h.said[key]; ok {
		return false
	}
	h.said[key] = now
	return true
}
