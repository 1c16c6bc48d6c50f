package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/policy"
)

// workClaim carries one ingestion to its outcome.
func (w *Worker) workClaim(ctx context.Context, s Snapshot, c polset.Claim) (err error) {
	start := time.Now()
	content := contentOf(c)
	defer func() {
		// A bug in a parser must cost its own commit, not the server.
		if p := recover(); p != nil {
			err = w.settle(ctx, c, content, panicked(p))
		}
	}()

	content, err = w.resolveContent(ctx, s, content)
	if err != nil {
		return w.settle(ctx, c, contentOf(c), err)
	}
	if n := c.Newest; c.Ingestion.VersionID == "" && repeats(n, content) {
		err := w.Branches.Unchanged(ctx, c.Lease, n.ID)
		if err != nil {
			return w.settle(ctx, c, content, err)
		}
		w.outcomes.WithLabelValues(string(polset.IngestionUnchanged), "").Inc()
		w.Logger.Info("ingestion unchanged", append(w.facts(c),
			zap.String("version", n.ID), zap.Duration("elapsed", time.Since(start)))...)
		return nil
	}

	version, err := w.Versions.Start(ctx, c.Lease, content)
	if err != nil {
		return w.settle(ctx, c, content, err)
	}
	artifact, err := w.build(ctx, s, content)
	if err != nil {
		return w.settle(ctx, c, artifact.Content, err)
	}
	if err := w.Versions.Finish(ctx, c.Lease, artifact); err != nil {
		return w.settle(ctx, c, artifact.Content, err)
	}
	w.outcomes.WithLabelValues(string(polset.IngestionVersioned), "").Inc()
	w.Logger.Info("version ready", append(w.facts(c),
		zap.String("version", version.ID), zap.String("digest", artifact.Digest),
		zap.Int64("size", artifact.Size), zap.Int("files", artifact.Files),
		zap.Duration("elapsed", time.Since(start)))...)
	return nil
}

// contentOf is what an ingestion asks for. The files outside policies-path
// are those of the newest version: while the subtree is the same, so is the
// configuration that names them.
func contentOf(c polset.Claim) polset.Content {
	want := polset.Content{Path: c.Ingestion.Path, Kind: c.Ingestion.Kind, Submodules: c.Ingestion.Submodules}
	if c.Newest != nil && len(c.Newest.Artifact.Content.Outside) > 0 {
		want.Outside = map[string]string{}
		for name := range c.Newest.Artifact.Content.Outside {
			want.Outside[name] = ""
		}
	}
	return want
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
	set, err := policy.Read(files, content.Path, content.Kind)
	if err != nil {
		return partial, err
	}
	if outside := set.Outside(); len(outside) > 0 {
		content.Outside = map[string]string{}
		for _, name := range outside {
			content.Outside[name] = ""
		}
		if content, err = w.resolveContent(ctx, s, content); err != nil {
			return partial, err
		}
		partial.Content = content
		if files, err = w.fetch(ctx, s, content); err != nil {
			return partial, err
		}
	}
	if err := w.validate(ctx, set, files); err != nil {
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
	if root != "." {
		artifact.PoliciesDirectory = strings.TrimPrefix(strings.TrimPrefix(content.Path, root), "/")
	} else if len(content.Outside) > 0 {
		artifact.PoliciesDirectory = content.Path
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

// validate waits for the compiler no longer than the stage's deadline: it
// cannot be interrupted everywhere, so it runs beside.
func (w *Worker) validate(ctx context.Context, set *policy.Set, files fs.FS) error {
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
		done <- set.Validate(stage, files)
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
		return artifact, storageFailure("polset could not write its spool directory; its operator must make room.", err)
	}
	defer func() {
		if e := errors.Join(spool.Close(), os.Remove(spool.Name())); e != nil {
			w.Logger.Warn("remove spool file", zap.Error(e))
		}
	}()

	stopped := w.timed("archive")
	summary, err := archive.Write(ctx, spool, files, w.Limits)
	stopped()
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) && pathErr.Path == spool.Name() {
			return artifact, storageFailure("polset could not write its spool directory; its operator must make room.", err)
		}
		return artifact, fmt.Errorf("write archive: %w", err)
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return artifact, fmt.Errorf("rewind spool file: %w", err)
	}

	defer w.timed("put")()
	stage, cancel := context.WithTimeout(ctx, w.StoreTimeout)
	defer cancel()
	if err := w.Objects.Put(stage, summary.Digest, summary.Size, spool); err != nil {
		return artifact, storageFailure("The object storage did not accept the archive; polset's log says why.", err)
	}
	return polset.Artifact{
		Digest: summary.Digest, TarDigest: summary.TarDigest,
		Size: summary.Size, TarSize: summary.TarSize, Files: summary.Files,
	}, nil
}

func storageFailure(message string, err error) error {
	return &polset.Failure{Class: polset.ClassStorage, Message: message, Retry: true, Err: err}
}
