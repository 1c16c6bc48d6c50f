// Package webhook turns an authenticated GitHub request into a
// [polset.Delivery] and what it means: a [polset.Push], a
// [polset.PullRequest], a change of an installation or a repository, or
// nothing that polset acts on. It answers only after its [Recorder] or its
// [Lifecycle] has committed.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// The routes. The first is the GitHub App's (or any hook that is signed with
// the operator's secret), the second a repository's own.
const (
	PathApp        = "/webhooks/github"
	PathRepository = "/webhooks/vcs/:id"
)

// A Recorder remembers deliveries. Every method is one transaction: what it
// returned without an error survives a crash.
type Recorder interface {
	// Hook returns a repository's own hook by its canonical lower-case uuid,
	// or the hook of the stored GitHub App by polset.HookGitHubApp. It answers
	// polset.ErrNotFound where there is none.
	Hook(ctx context.Context, id string) (polset.Hook, error)
	// RecordPush records a delivery and begins an ingestion for every policy
	// set that follows the branch. It answers polset.ErrNotFound when the push
	// is of a repository that is not the hook's.
	RecordPush(ctx context.Context, d polset.Delivery, p polset.Push) (polset.Receipt, error)
	// RecordIgnored records a delivery that asks for nothing, and why.
	RecordIgnored(ctx context.Context, d polset.Delivery, reason string) (polset.Receipt, error)
}

// A Lifecycle remembers deliveries that are no pushes. Every method is one
// transaction, as those of a Recorder, and answers polset.ErrNotFound when the
// delivery is of a repository that is not the hook's.
type Lifecycle interface {
	// RecordInstallation records what happened to an installation. Only the
	// App's hook is told of them.
	RecordInstallation(ctx context.Context, d polset.Delivery, c polset.InstallationChange) (polset.Receipt, error)
	// RecordRepository records what happened to a repository, or to a branch
	// of it.
	RecordRepository(ctx context.Context, d polset.Delivery, c polset.RepositoryChange) (polset.Receipt, error)
	// RecordPullRequest records a proposed commit and begins a dry run for
	// every policy set that follows the branch it is to be merged into.
	RecordPullRequest(ctx context.Context, d polset.Delivery, p polset.PullRequest) (polset.Receipt, error)
}

// The defaults of Config.
const (
	// DefaultMaxBody is GitHub's own cap: it never sends a larger payload.
	DefaultMaxBody int64 = 25 << 20
	// DefaultBodyTimeout is how long a body may take to arrive.
	DefaultBodyTimeout = 30 * time.Second
	// DefaultAnswerTimeout leaves two of the ten seconds after which GitHub
	// gives a delivery up.
	DefaultAnswerTimeout = 8 * time.Second
)

// Config is what a Receiver is made of. Only Recorder and Lifecycle are
// required.
type Config struct {
	Recorder  Recorder
	Lifecycle Lifecycle

	// Secrets are the operator's: they sign the deliveries to PathApp, the
	// newest first; any of them verifies, so that a secret can be rotated.
	// Those of the stored GitHub App verify beside them. Without either PathApp
	// answers 503.
	Secrets []polset.Secret
	// HTTPURLs are the hosts whose repositories PathApp may speak for, such as
	// https://github.com. Where they differ, a delivery about a repository
	// speaks for the host of its html_url alone, and is ignored where that is
	// missing or on none of them. What is on another host than
	// https://github.com speaks for https://github.com too, if that is listed:
	// the other is what polset dials for repositories that are written so.
	HTTPURLs []string

	Logger     *zap.Logger           // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are kept but not exposed
	Now        func() time.Time      // nil: time.Now

	// MaxBody is the largest body in bytes; 0: DefaultMaxBody.
	MaxBody int64
	// MaxBuffered is how many bytes of bodies may be in memory at a time, over
	// all requests; 0: eight times MaxBody. It must be at least six times
	// MaxBody: large bodies get half of it, and a buffer that grows exists
	// twice for a moment.
	MaxBuffered int64
	// BodyTimeout is how long a body may take to arrive; 0: DefaultBodyTimeout.
	BodyTimeout time.Duration
	// AnswerTimeout is how long the Recorder may take; 0: DefaultAnswerTimeout.
	AnswerTimeout time.Duration
}

// A Receiver answers GitHub. It may be used by several goroutines.
type Receiver struct {
	recorder      Recorder
	lifecycle     Lifecycle
	appSecrets    *appSecrets
	httpURLs      []string
	log           *zap.Logger
	now           func() time.Time
	maxBody       int64
	bodyTimeout   time.Duration
	answerTimeout time.Duration
	buffers       *buffers
	metrics       metrics
}

// New returns a Receiver. An empty secret is an error: it would let everybody
// sign.
func New(c Config) (*Receiver, error) {
	if c.Recorder == nil {
		return nil, errors.New("webhook: a recorder is required")
	}
	if c.Lifecycle == nil {
		return nil, errors.New("webhook: a lifecycle is required")
	}
	for i, s := range c.Secrets {
		if s.Empty() {
			return nil, fmt.Errorf("webhook: secret %d of %d is empty", i+1, len(c.Secrets))
		}
	}
	if c.MaxBody < 0 || c.MaxBuffered < 0 || c.BodyTimeout < 0 || c.AnswerTimeout < 0 {
		return nil, errors.New("webhook: limits must not be negative")
	}
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.MaxBuffered == 0 {
		c.MaxBuffered = 8 * c.MaxBody
	}
	if c.MaxBuffered < 6*c.MaxBody {
		return nil, fmt.Errorf("webhook: buffered bodies are limited to %d bytes, less than six times the largest body (%d bytes)", c.MaxBuffered, c.MaxBody)
	}
	if c.BodyTimeout == 0 {
		c.BodyTimeout = DefaultBodyTimeout
	}
	if c.AnswerTimeout == 0 {
		c.AnswerTimeout = DefaultAnswerTimeout
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("webhook: register metrics: %w", err)
	}
	r := &Receiver{
		recorder:      c.Recorder,
		lifecycle:     c.Lifecycle,
		httpURLs:      append([]string(nil), c.HTTPURLs...),
		log:           c.Logger,
		now:           c.Now,
		maxBody:       c.MaxBody,
		bodyTimeout:   c.BodyTimeout,
		answerTimeout: c.AnswerTimeout,
		buffers:       newBuffers(c.MaxBody, c.MaxBuffered),
		metrics:       m,
	}
	r.appSecrets = &appSecrets{operator: append([]polset.Secret(nil), c.Secrets...), read: r.storedSecrets, now: c.Now}
	return r, nil
}

// Register adds the two routes. Methods other than POST are answered 405 here,
// so that no catch-all route gets to see them.
func (r *Receiver) Register(e *echo.Echo) {
	e.POST(PathApp, r.app)
	e.POST(PathRepository, r.repository)
	others := []string{
		http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead,
		http.MethodOptions, http.MethodPatch, http.MethodPut, http.MethodTrace,
	}
	e.Match(others, PathApp, methodNotAllowed)
	e.Match(others, PathRepository, methodNotAllowed)
}
