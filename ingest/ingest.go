// Package ingest carries one version from pending to ready or errored: it
// takes the leases of a commit's ingestions, looks at the branch, fetches what
// counts, validates it, archives it, stores the bytes and only then the rows.
//
// The order is the promise. Bytes are put before the row points at them, so a
// crash leaves at worst an unused object. Every move carries its lease, so a
// worker that slept through its lease can write nothing. And whatever a crash
// leaves unfinished is found again from the rows alone.
//
// A Worker does so for what is known of. A Reconciler looks from time to time
// for what is not, and a Trier takes the commits of pull requests through the
// same stages to say what they would change, storing nothing. A Materializer
// makes versions of the policies that an organization manages one by one.
package ingest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/lease"
)

// Ledger gives out the right to work on ingestions, and takes it back.
type Ledger interface {
	// Claim leases what is due of a commit; an empty batch means nothing is.
	Claim(ctx context.Context, repositoryID, commit string, ttl time.Duration) (polset.Batch, error)
	// Renew extends leases; ErrFenced says that one of them is lost.
	Renew(ctx context.Context, leases []polset.Lease, ttl time.Duration) error
	// Release returns an ingestion for another attempt after a delay.
	Release(ctx context.Context, lease polset.Lease, after time.Duration, reason string) error
}

// Versions moves versions. Every method answers ErrFenced when the lease is
// lost, and changes nothing then.
type Versions interface {
	// Start makes the ingestion's version, where it has none yet, and moves
	// it to ingressing.
	Start(ctx context.Context, lease polset.Lease, content polset.Content) (polset.Version, error)
	// Finish moves the version to ready, and the set's current version with
	// it if the commit is the observed head of the branch.
	Finish(ctx context.Context, lease polset.Lease, artifact polset.Artifact) error
	// Fail moves the version, made for the purpose if need be, to errored.
	Fail(ctx context.Context, lease polset.Lease, failure *polset.Failure, content polset.Content) error
}

// Endings end ingestions that need no version of their own. Both methods answer
// ErrFenced as those of Versions do.
type Endings interface {
	// Unchanged ends an ingestion that would repeat a version.
	Unchanged(ctx context.Context, lease polset.Lease, versionID string) error
	// Ignore ends an ingestion whose commit changes nothing that its update
	// patterns name, since the commit that was processed last. ErrConflict says
	// that another was meanwhile.
	Ignore(ctx context.Context, lease polset.Lease, since, reason string) error
}

// Branches remembers what was seen of branches.
type Branches interface {
	// Observe records where a branch stands.
	Observe(ctx context.Context, o polset.Observation) error
	// Resolve gives the commit to an ingestion that began without one.
	Resolve(ctx context.Context, lease polset.Lease, head polset.Head) error
}

// Source reaches git.
type Source interface {
	Commits
	// Head looks where a branch stands; "" is the default branch.
	Head(ctx context.Context, remote polset.Remote, branch string) (polset.Head, error)
}

// Commits opens commits.
type Commits interface {
	// Open fetches a commit. branch, or the full name of another ref, is a
	// hint for servers that give out only what their refs point at.
	Open(ctx context.Context, remote polset.Remote, commit, branch string) (Snapshot, error)
}

// Snapshot is one commit: what it holds, and what is new in it.
type Snapshot interface {
	Contents
	// Changed returns a path that differs between another commit and this one
	// and that a pattern matches, "" where there is none. A failure that is not
	// worth another attempt says that it cannot be told.
	Changed(ctx context.Context, since string, patterns polset.Patterns) (path string, err error)
	// Close releases the snapshot; file systems that it gave remain valid.
	Close() error
}

// Contents are what a commit holds.
type Contents interface {
	// Resolve fills in the object ids of what counts, without its content.
	Resolve(ctx context.Context, want polset.Content) (polset.Content, error)
	// Fetch returns what counts, rooted at the repository's root.
	Fetch(ctx context.Context, content polset.Content) (fs.FS, error)
}

// Objects stores archives.
type Objects interface {
	// Put stores size bytes under their sha256 in hex. It returns nil only
	// once exactly these bytes are durable.
	Put(ctx context.Context, key string, size int64, body io.ReadSeeker) error
}

// An Inspector compiles the policies of a set where a hostile one does no harm.
type Inspector interface {
	// Inspect reads the configuration of the set at dir, and does what
	// policy.Set.Inspect does. It bounds its own time, of which waiting for its
	// turn is no part: that is not the content's fault.
	Inspect(ctx context.Context, fsys fs.FS, dir string, kind polset.Kind) ([]polset.PolicySummary, error)
}

// Config is what a Worker needs. The interfaces are required; zero values of
// the rest mean the documented defaults.
type Config struct {
	Ledger   Ledger
	Versions Versions
	Endings  Endings
	Branches Branches
	Source   Source
	Objects  Objects

	// Inspector compiles policies; nil does so in this process, within
	// ValidateTimeout.
	Inspector Inspector

	// Limits bound an archive.
	Limits archive.Limits
	// SpoolDir holds an archive while it is written; the system's directory
	// for temporary files by default.
	SpoolDir string

	// Lease is how long a claim lasts unless renewed (default 30 s). It is
	// renewed every third of it.
	Lease time.Duration
	// MaxAttempts bounds the attempts that end in a passing fault (default 6).
	MaxAttempts int
	// MaxCrashes bounds the attempts that end without a word (default 25).
	MaxCrashes int
	// MaxAbandoned bounds the parsers that go on beyond their deadline while the
	// worker turns to other commits (default 4). One more keeps the place of its
	// commit until one of them ends.
	MaxAbandoned int
	// RetryBase is the first wait between attempts; it doubles each time
	// (default 2 s, so that six attempts span a minute).
	RetryBase time.Duration
	// HeadTimeout, FetchTimeout, ValidateTimeout and StoreTimeout are the
	// deadlines of the stages (defaults 30 s, 2 min, 1 min, 2 min).
	HeadTimeout, FetchTimeout, ValidateTimeout, StoreTimeout time.Duration

	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// A Worker works on commits. It is safe for use by many goroutines.
type Worker struct {
	Config
	stages
	retries   lease.Retries
	outcomes  *prometheus.CounterVec
	abandoned chan struct{} // holds a value for each parser beyond its deadline
}

// New returns a worker.
func New(c Config) (*Worker, error) {
	if c.Ledger == nil || c.Versions == nil || c.Endings == nil || c.Branches == nil || c.Source == nil || c.Objects == nil {
		return nil, fmt.Errorf("ingest: Ledger, Versions, Endings, Branches, Source and Objects are required")
	}
	orDefault(&c.Lease, 30*time.Second)
	orDefault(&c.RetryBase, 2*time.Second)
	orDefault(&c.HeadTimeout, 30*time.Second)
	orDefault(&c.FetchTimeout, 2*time.Minute)
	orDefault(&c.ValidateTimeout, time.Minute)
	orDefault(&c.StoreTimeout, 2*time.Minute)
	orDefault(&c.MaxAttempts, 6)
	orDefault(&c.MaxCrashes, 25)
	orDefault(&c.MaxAbandoned, 4)
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	w := &Worker{
		Config: c,
		stages: stages{
			source: c.Source, inspector: c.Inspector, fetchLimit: c.FetchTimeout, validateLimit: c.ValidateTimeout,
			seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
				Name:    "polset_ingest_stage_seconds",
				Help:    "Duration of the stages of an ingestion.",
				Buckets: stageBuckets(),
			}, []string{"stage"}),
		},
		retries:   lease.Retries{Most: c.MaxAttempts, Base: c.RetryBase},
		abandoned: make(chan struct{}, c.MaxAbandoned),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_ingestions_total",
			Help: "Ingestions by outcome; class is the error class of failed ones.",
		}, []string{"outcome", "class"}),
	}
	if err := register(c.Registerer, w.outcomes, w.seconds); err != nil {
		return nil, err
	}
	return w, nil
}

func stageBuckets() []float64 { return prometheus.ExponentialBuckets(0.001, 4, 9) }

// orDefault gives a setting that was left open its default.
func orDefault[T comparable](setting *T, value T) {
	var open T
	if *setting == open {
		*setting = value
	}
}

// register registers metrics, where there is somebody to register them with.
func register(with prometheus.Registerer, metrics ...prometheus.Collector) error {
	if with == nil {
		return nil
	}
	for _, m := range metrics {
		if err := with.Register(m); err != nil {
			return fmt.Errorf("register ingest metrics: %w", err)
		}
	}
	return nil
}
