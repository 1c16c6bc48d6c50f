// Package queue remembers work: it turns a wake-up for a commit into a call of
// a handler, on SQLite and PostgreSQL, inside the caller's transaction. It is
// the only user of River.
//
// The queue is a convenience. A job says that a commit may have work, the
// caller's rows say what the work is; a job too many is harmless, and a queue
// that was lost can be filled again from the rows.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"go.uber.org/zap"
)

// A Job wakes a worker for one commit of one repository.
type Job struct {
	Repository string `json:"repository"` // repo-…
	Commit     string `json:"commit"`     // "" for work that begins with the branch head
}

// Kind implements river.JobArgs.
func (Job) Kind() string { return "ingest" }

// A Handler does the work of a job. An error brings the job back after a
// while, a few times.
type Handler func(ctx context.Context, job Job) error

const (
	// fetchCooldown and fetchPoll bound the latency between commit and work:
	// notifications arrive at once on PostgreSQL and within 50 ms on SQLite,
	// the poll is for jobs with a time of their own.
	fetchCooldown = 25 * time.Millisecond
	fetchPoll     = 250 * time.Millisecond
	// maxAttempts is modest: whoever enqueues sweeps up what is left.
	maxAttempts = 4
	// retention is how long ended jobs are kept; the rows are the history.
	retention = 10 * time.Minute
	// cancelGrace is how long cancelled handlers may take to return.
	cancelGrace = 10 * time.Second
)

// A Queue is a queue in a database. It is safe for use by many goroutines.
type Queue struct {
	backend backend
	logger  *slog.Logger

	mu     sync.Mutex
	client runner      // nil unless started
	detach func() bool // from the context of Start
}

// backend is what differs between the databases.
type backend interface {
	begin(ctx context.Context) (*Tx, error)
	migrate(ctx context.Context) error
	depth(ctx context.Context) (int, error)
	start(ctx context.Context, config *river.Config) (runner, error)
}

// runner is the part of river.Client that has no type parameter.
type runner interface {
	Stop(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
}

func newQueue(b backend, logger *zap.Logger) *Queue {
	if logger == nil {
		logger = zap.NewNop()
	}
	return &Queue{backend: b, logger: slog.New(&zapHandler{logger: logger.Named("queue")})}
}

// Migrate brings the queue's tables up to date. The caller sees to it that no
// two nodes do so at once.
func (q *Queue) Migrate(ctx context.Context) error { return q.backend.migrate(ctx) }

// Begin opens a transaction in which rows and jobs are committed together.
func (q *Queue) Begin(ctx context.Context) (*Tx, error) { return q.backend.begin(ctx) }

// Depth is the number of jobs that are not done.
func (q *Queue) Depth(ctx context.Context) (int, error) { return q.backend.depth(ctx) }

// Start begins to work on jobs, at most workers at a time. When ctx ends no
// further job is begun; handlers are cancelled by Stop only.
func (q *Queue) Start(ctx context.Context, workers int, handler func(ctx context.Context, job Job) error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.client != nil {
		return errors.New("start queue: already started")
	}
	bundle := river.NewWorkers()
	if err := river.AddWorkerSafely(bundle, &worker{handler: handler}); err != nil {
		return fmt.Errorf("start queue: %w", err)
	}
	// River takes the end of its context for an order to cancel all handlers.
	client, err := q.backend.start(context.WithoutCancel(ctx), &river.Config{
		Queues:                      map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}},
		Workers:                     bundle,
		FetchCooldown:               fetchCooldown,
		FetchPollInterval:           fetchPoll,
		MaxAttempts:                 maxAttempts,
		JobTimeout:                  -1, // the handler has a deadline for each of its stages
		CompletedJobRetentionPeriod: retention,
		CancelledJobRetentionPeriod: retention,
		DiscardedJobRetentionPeriod: retention,
		ReindexerIndexNames:         []string{}, // the table stays small
		Logger:                      q.logger,
	})
	if err != nil {
		return fmt.Errorf("start queue: %w", err)
	}
	q.client = client
	q.detach = context.AfterFunc(ctx, func() {
		// River's Stop holds a lock while it waits, so this one must not: it
		// only tells River to begin no further job.
		impatient, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancel()
		_ = client.Stop(impatient) // the error is that it did not wait
	})
	return nil
}

// Stop begins no further job and waits for those that run until ctx ends;
// then it cancels them and waits a little longer. A queue that was not
// started stops at once.
func (q *Queue) Stop(ctx context.Context) error {
	q.mu.Lock()
	client, detach := q.client, q.detach
	q.client, q.detach = nil, nil
	q.mu.Unlock()
	if client == nil {
		return nil
	}
	detach()
	err := client.Stop(ctx)
	if err == nil {
		return nil
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelGrace)
	defer cancel()
	if err := client.StopAndCancel(grace); err != nil {
		return fmt.Errorf("stop queue: %w", err)
	}
	return nil
}

type worker struct {
	river.WorkerDefaults[Job]
	handler Handler
}

// Work implements river.Worker.
func (w *worker) Work(ctx context.Context, job *river.Job[Job]) error {
	return w.handler(ctx, job.Args)
}
