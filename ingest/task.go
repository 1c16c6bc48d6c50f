package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/policy"
)

// workTask carries one ingestion to its outcome. It returns the failure that
// it settled with, and an error when the rows could not be reached.
func (w *Worker) workTask(s Snapshot, g *group, t task) (failure *polset.Failure, err error) {
	start := time.Now()
	content := contentOf(t.Claim)
	settle := func(cause error) (*polset.Failure, error) {
		return polset.FailureOf(cause), w.settle(t, content, cause)
	}
	defer func() {
		// A bug in a parser must cost its own commit, not the server.
		if p := recover(); p != nil {
			failure, err = settle(panicked(p))
		}
	}()

	if content, err = w.resolveContent(t.ctx, s, content); err != nil {
		return settle(err)
	}
	if n := t.Newest; t.Ingestion.VersionID == "" && repeats(n, content) {
		w.lookAgain(t.ctx, g, t.Ingestion.Commit)
		if err := w.Branches.Unchanged(t.ctx, t.Lease, n.ID); err != nil {
			return settle(err)
		}
		t.done()
		w.outcomes.WithLabelValues(string(polset.IngestionUnchanged), "").Inc()
		w.Logger.Info("ingestion unchanged", append(w.facts(t),
			zap.String("version", n.ID), zap.Duration("elapsed", time.Since(start)))...)
		return nil, nil
	}

	version, err := w.Versions.Start(t.ctx, t.Lease, content)
	if err != nil {
		return settle(err)
	}
	artifact, err := w.build(t.ctx, s, content)
	content = artifact.Content
	if err != nil {
		return settle(err)
	}
	w.lookAgain(t.ctx, g, t.Ingestion.Commit)
	if err := w.Versions.Finish(t.ctx, t.Lease, artifact); err != nil {
		return settle(err)
	}
	t.done()
	w.outcomes.WithLabelValues(string(polset.IngestionVersioned), "").Inc()
	w.Logger.Info("version ready", append(w.facts(t),
		zap.String("version", version.ID), zap.String("digest", artifact.Digest),
		zap.Int64("size", artifact.Size), zap.Int("files", artifact.Files),
		zap.Duration("elapsed", time.Since(start)))...)
	return nil, nil
}

// contentOf is what an ingestion asks for. The files outside policies-path
// are those of the newest version: while the subtree is the same, so is the
// configuration that names them.
func contentOf(c polset.Claim) polset.Content {
	want := polset.Content{Path: c.Ingestion.Path, Kind: c.Ingestion.Kind, Submodules: c.Ingestion.Submodules}
	if c.Newest != nil {
		want.Outside = unresolved(maps.Keys(c.Newest.Artifact.Content.Outside))
	}
	return want
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

// repeats reports whether a version of this content would repeat the newest.
// One that failed for a passing reason does not count: it deserves a new try.
func repeats(newest *polset.Version, content polset.Content) bool {
	if newest == nil || !newest.Artifact.Content.Equal(content) {
		return false
	}
	return newest.Status == polset.VersionReady ||
		newest.Status == polset.VersionErrored && newest.Error.OfContent()
}

func (w *Worker) resolveContent(ctx context.Context, s Snapshot, want polset.Content) (polset.Content, error) {
	defer w.timed("resolve")()
	stage, cancel := context.WithTimeout(ctx, w.FetchTimeout)
	defer cancel()
	content, err := s.Resolve(stage, want)
	if err != nil {
		return want, deadline(ctx, stage, err, "fetch the trees down to policies-path", w.FetchTimeout)
	}
	return content, nil
}

// build turns content into a stored archive. The artifact that it returns
// beside an error says what of the content was known by then.
func (w *Worker) build(ctx context.Context, s Snapshot, content polset.Content) (polset.Artifact, error) {
	content.Outside = nil // the configuration, once read, says what it needs
	partial := polset.Artifact{Content: content}
	files, err := w.fetch(ctx, s, content)
	if err != nil {
		return partial, err
	}
	var set *policy.Set
	err = w.bounded(ctx, func(context.Context) (err error) {
		set, err = policy.Read(files, content.Path, content.Kind)
		return err
	})
	if err != nil {
		return partial, err
	}
	if content.Outside = unresolved(slices.Values(set.Outside())); content.Outside != nil {
		if content, err = w.resolveContent(ctx, s, content); err != nil {
			return partial, err
		}
		partial.Content = content
		if files, err = w.fetch(ctx, s, content); err != nil {
			return partial, err
		}
	}
	err = w.bounded(ctx, func(ctx context.Context) error { return set.Validate(ctx, files) })
	if err != nil {
		return partial, err
	}

	root := archiveRoot(content)
	sub, err := fs.Sub(files, root)
	if err != nil {
		return partial, fmt.Errorf("root the archive at %q: %w", root, err)
	}
	artifact, err := w.store(ctx, sub)
	if err != nil {
		return partial, err
	}
	artifact.Content = content
	artifact.Policies = set.Summaries()
	artifact.PoliciesDirectory = content.Path
	if root != "." {
		artifact.PoliciesDirectory = strings.TrimPrefix(strings.TrimPrefix(content.Path, root), "/")
	}
	return artifact, nil
}

func (w *Worker) fetch(ctx context.Context, s Snapshot, content polset.Content) (fs.FS, error) {
	defer w.timed("fetch")()
	stage, cancel := context.WithTimeout(ctx, w.FetchTimeout)
	defer cancel()
	files, err := s.Fetch(stage, content)
	if err != nil {
		return nil, deadline(ctx, stage, err, "fetch the policies", w.FetchTimeout)
	}
	return files, nil
}

// bounded waits for a parser or compiler no longer than the stage's deadline:
// it cannot be interrupted everywhere, so it runs beside.
func (w *Worker) bounded(ctx context.Context, parse func(context.Context) error) error {
	defer w.timed("validate")()
	stage, cancel := context.WithTimeout(ctx, w.ValidateTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- panicked(p)
			}
		}()
		done <- parse(stage)
	}()
	var err error
	select {
	case err = <-done:
	case <-stage.Done():
		err = stage.Err()
	}
	if err != nil && ctx.Err() == nil && errors.Is(stage.Err(), context.DeadlineExceeded) {
		return polset.Fail(polset.ClassLimit,
			"The policies take longer than %s to compile, the limit that POLSET_VALIDATE_TIMEOUT sets.", w.ValidateTimeout)
	}
	return err
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

// store writes the archive to a spool file and puts it into the object
// storage. The file is gone when it returns.
func (w *Worker) store(ctx context.Context, files fs.FS) (artifact polset.Artifact, err error) {
	spool, err := os.CreateTemp(w.SpoolDir, "archive-*.tar.gz")
	if err != nil {
		return artifact, storageFailure(spoolFull, err)
	}
	defer func() {
		if e := errors.Join(spool.Close(), os.Remove(spool.Name())); e != nil {
			w.Logger.Warn("remove spool file", zap.Error(e))
		}
	}()
	stage, cancel := context.WithTimeout(ctx, w.StoreTimeout)
	defer cancel()

	stopped := w.timed("archive")
	summary, err := archive.Write(stage, spool, files, w.Limits)
	stopped()
	if err != nil {
		var pathErr *fs.PathError
		switch {
		case errors.As(err, &pathErr) && pathErr.Path == spool.Name():
			return artifact, storageFailure(spoolFull, err)
		case ctx.Err() == nil && stage.Err() != nil:
			return artifact, storageFailure(fmt.Sprintf("It took longer than %s to write the archive, the limit that POLSET_STORE_TIMEOUT sets.", w.StoreTimeout), err)
		}
		return artifact, fmt.Errorf("write archive: %w", err)
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return artifact, fmt.Errorf("rewind spool file: %w", err)
	}

	defer w.timed("put")()
	if err := w.Objects.Put(stage, summary.Digest, summary.Size, spool); err != nil {
		return artifact, storageFailure("The object storage did not accept the archive; polset's log says why.", err)
	}
	return polset.Artifact{
		Digest: summary.Digest, TarDigest: summary.TarDigest,
		Size: summary.Size, TarSize: summary.TarSize, Files: summary.Files,
	}, nil
}

const spoolFull = "polset could not write its spool directory; its operator must make room."

func storageFailure(message string, err error) error {
	return &polset.Failure{Class: polset.ClassStorage, Message: message, Retry: true, Err: err}
}
