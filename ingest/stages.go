package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/polset/polset"
	"github.com/polset/polset/lease"
	"github.com/polset/polset/policy"
)

// stages are the steps from a commit to what it says, each with its deadline.
type stages struct {
	source        Commits
	inspector     Inspector // nil: in this process
	fetchLimit    time.Duration
	validateLimit time.Duration
	seconds       *prometheus.HistogramVec
}

// open fetches a commit; hint is a branch or the full name of another ref.
func (s stages) open(ctx context.Context, remote polset.Remote, commit, hint string) (Snapshot, error) {
	defer s.timed("open")()
	stage, cancel := context.WithTimeout(ctx, s.fetchLimit)
	defer cancel()
	snapshot, err := s.source.Open(stage, remote, commit, hint)
	if err != nil {
		return nil, deadline(ctx, stage, err, "fetch the commit", s.fetchLimit)
	}
	return snapshot, nil
}

func (s stages) resolve(ctx context.Context, snapshot Contents, want polset.Content) (polset.Content, error) {
	defer s.timed("resolve")()
	stage, cancel := context.WithTimeout(ctx, s.fetchLimit)
	defer cancel()
	content, err := snapshot.Resolve(stage, want)
	if err != nil {
		return want, deadline(ctx, stage, err, "fetch the trees down to policies-path", s.fetchLimit)
	}
	return content, nil
}

func (s stages) changed(ctx context.Context, snapshot Snapshot, since string, patterns polset.Patterns) (string, error) {
	defer s.timed("compare")()
	stage, cancel := context.WithTimeout(ctx, s.fetchLimit)
	defer cancel()
	path, err := snapshot.Changed(stage, since, patterns)
	if err != nil {
		return "", deadline(ctx, stage, err, "compare the trees of two commits", s.fetchLimit)
	}
	return path, nil
}

func (s stages) fetch(ctx context.Context, snapshot Contents, content polset.Content) (fs.FS, error) {
	defer s.timed("fetch")()
	stage, cancel := context.WithTimeout(ctx, s.fetchLimit)
	defer cancel()
	files, err := snapshot.Fetch(stage, content)
	if err != nil {
		return nil, deadline(ctx, stage, err, "fetch the policies", s.fetchLimit)
	}
	return files, nil
}

// A judgement is what a commit says.
type judgement struct {
	content  polset.Content
	files    fs.FS // what counts, rooted at the repository's root
	policies []polset.PolicySummary
}

// judge fetches content and validates its policies. Beside an error, the
// content is what was known of it by then.
func (s stages) judge(ctx context.Context, snapshot Contents, content polset.Content) (j judgement, err error) {
	content.Outside = nil // the configuration, once read, says what it needs
	j.content = content
	if j.files, err = s.fetch(ctx, snapshot, content); err != nil {
		return j, err
	}
	set, err := bounded(ctx, s, func(context.Context) (*policy.Set, error) {
		return policy.Read(j.files, content.Path, content.Kind)
	})
	if err != nil {
		return j, err
	}
	if content.Outside = unresolved(slices.Values(set.Outside())); content.Outside != nil {
		if content, err = s.resolve(ctx, snapshot, content); err != nil {
			return j, err
		}
		j.content = content
		if j.files, err = s.fetch(ctx, snapshot, content); err != nil {
			return j, err
		}
	}
	j.policies, err = s.inspect(ctx, set, j.files)
	return j, err
}

// inspect looks at the policies of a set.
func (s stages) inspect(ctx context.Context, set *policy.Set, files fs.FS) ([]polset.PolicySummary, error) {
	if s.inspector == nil {
		return bounded(ctx, s, func(ctx context.Context) ([]polset.PolicySummary, error) {
			return set.Inspect(ctx, files)
		})
	}
	defer s.timed("validate")()
	return s.inspector.Inspect(ctx, files, set.Dir, set.Kind)
}

// An abandonedError says that a parser or compiler was not waited for any
// longer. It goes on until ended is closed.
type abandonedError struct {
	cause error
	ended <-chan struct{}
}

func (e *abandonedError) Error() string { return e.cause.Error() }
func (e *abandonedError) Unwrap() error { return e.cause }

// leftBehind is closed when what err says was abandoned has ended; nil where
// nothing was.
func leftBehind(err error) <-chan struct{} {
	var e *abandonedError
	if errors.As(err, &e) {
		return e.ended
	}
	return nil
}

// bounded waits for a parser or compiler no longer than the stage's deadline:
// it cannot be interrupted everywhere, so it runs beside. What goes on beyond
// that is an abandonedError.
func bounded[T any](ctx context.Context, s stages, parse func(context.Context) (T, error)) (result T, err error) {
	defer s.timed("validate")()
	stage, cancel := context.WithTimeout(ctx, s.validateLimit)
	defer cancel()
	type answer struct {
		result T
		err    error
	}
	done, ended := make(chan answer, 1), make(chan struct{})
	go func() {
		defer close(ended)
		var a answer
		defer func() {
			if p := recover(); p != nil {
				a.err = lease.Panicked(p)
			}
			done <- a
		}()
		a.result, a.err = parse(stage)
	}()
	abandoned := false
	select {
	case a := <-done:
		result, err = a.result, a.err
	case <-stage.Done():
		abandoned, err = true, stage.Err()
	}
	if err != nil && ctx.Err() == nil && errors.Is(stage.Err(), context.DeadlineExceeded) {
		err = polset.Fail(polset.ClassLimit,
			"The policies take longer than %s to compile, the limit that POLSET_VALIDATE_TIMEOUT sets.", s.validateLimit)
	}
	if abandoned {
		err = &abandonedError{cause: err, ended: ended}
	}
	return result, err
}

// archived returns what of the files goes into the archive, and where in it
// the policy set lies.
func (j judgement) archived() (files fs.FS, policiesDirectory string, err error) {
	root := archiveRoot(j.content)
	if files, err = fs.Sub(j.files, root); err != nil {
		return nil, "", fmt.Errorf("root the archive at %q: %w", root, err)
	}
	if root == "." {
		return files, j.content.Path, nil
	}
	return files, strings.TrimPrefix(strings.TrimPrefix(j.content.Path, root), "/"), nil
}

// archiveRoot is the deepest directory that holds policies-path and the files
// outside it; policies-path itself where there are none.
func archiveRoot(c polset.Content) string {
	root := c.Path
	for name := range c.Outside {
		for root != "" && !strings.HasPrefix(name, root+"/") {
			root = strings.TrimPrefix(path.Dir("/"+root), "/")
		}
	}
	if root == "" {
		return "."
	}
	return root
}

// unresolved asks for files outside policies-path by their names; nil where
// there are none.
func unresolved(names iter.Seq[string]) map[string]string {
	var outside map[string]string
	for name := range names {
		if outside == nil {
			outside = map[string]string{}
		}
		outside[name] = ""
	}
	return outside
}

// deadline turns the end of a stage's own deadline into a failure that says so.
func deadline(parent, stage context.Context, err error, doing string, limit time.Duration) error {
	if parent.Err() == nil && errors.Is(stage.Err(), context.DeadlineExceeded) && polset.FailureOf(err).Class == polset.ClassInternal {
		return &polset.Failure{
			Class: polset.ClassTimeout, Retry: true, Hung: true, Err: err,
			Message: fmt.Sprintf("It took longer than %s to %s.", limit, doing),
		}
	}
	return err
}

// timed starts the clock of a stage; the function that it returns stops it.
func (s stages) timed(stage string) func() {
	start := time.Now()
	return func() { s.seconds.WithLabelValues(stage).Observe(time.Since(start).Seconds()) }
}
