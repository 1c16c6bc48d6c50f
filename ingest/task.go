package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/lease"
)

// workTask carries one ingestion to its outcome. It returns the failure that
// it settled with, and an error when the rows could not be reached.
func (w *Worker) workTask(s Snapshot, g *group, t task) (failure *polset.Failure, err error) {
	start := time.Now()
	content := contentOf(t.Claim)
	settle := func(cause error) (*polset.Failure, error) {
		defer w.leave(g.stopped, leftBehind(cause))
		return polset.FailureOf(cause), w.settle(t, content, cause)
	}
	defer func() {
		// A bug in a parser must cost its own commit, not the server.
		if p := recover(); p != nil {
			failure, err = settle(lease.Panicked(p))
		}
	}()

	var unresolved error
	if content, unresolved = w.resolve(t.Ctx, s, content); unresolved != nil && polset.FailureOf(unresolved).Retry {
		return settle(unresolved)
	}
	if n := t.Newest; unresolved == nil && t.Ingestion.VersionID == "" && repeats(n, content) {
		w.lookAgain(t.Ctx, g, t.Ingestion.Commit)
		if err := w.Endings.Unchanged(t.Ctx, t.Lease, n.ID); err != nil {
			return settle(err)
		}
		t.Done()
		w.outcomes.WithLabelValues(string(polset.IngestionUnchanged), "").Inc()
		w.Logger.Info("ingestion unchanged", append(w.facts(t),
			zap.String("version", n.ID), zap.Duration("elapsed", time.Since(start)))...)
		return nil, nil
	}
	if ignored, err := w.ignore(s, g, t); err != nil {
		return settle(err)
	} else if ignored {
		t.Done()
		w.outcomes.WithLabelValues(string(polset.IngestionIgnored), "").Inc()
		w.Logger.Info("ingestion ignored", append(w.facts(t),
			zap.String("since", t.Processed), zap.Duration("elapsed", time.Since(start)))...)
		return nil, nil
	}
	if unresolved != nil {
		return settle(unresolved)
	}

	version, err := w.Versions.Start(t.Ctx, t.Lease, content)
	if err != nil {
		return settle(err)
	}
	artifact, err := w.build(t.Ctx, s, content)
	content = artifact.Content
	if err != nil {
		return settle(err)
	}
	w.lookAgain(t.Ctx, g, t.Ingestion.Commit)
	if err := w.Versions.Finish(t.Ctx, t.Lease, artifact); err != nil {
		return settle(err)
	}
	t.Done()
	w.outcomes.WithLabelValues(string(polset.IngestionVersioned), "").Inc()
	w.Logger.Info("version ready", append(w.facts(t),
		zap.String("version", version.ID), zap.String("digest", artifact.Digest),
		zap.Int64("size", artifact.Size), zap.Int("files", artifact.Files),
		zap.Duration("elapsed", time.Since(start)))...)
	return nil, nil
}

// leave turns away from a parser that goes on beyond its deadline: at once if
// no more than MaxAbandoned do so, otherwise when one of them ends.
func (w *Worker) leave(stopped, ended <-chan struct{}) {
	if ended == nil {
		return
	}
	select {
	case w.abandoned <- struct{}{}:
		go func() {
			<-ended
			<-w.abandoned
		}()
	case <-ended:
	case <-stopped:
	}
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

// repeats reports whether a version of this content would repeat the newest.
// One that failed for a passing reason does not count: it deserves a new try.
func repeats(newest *polset.Version, content polset.Content) bool {
	if newest == nil || !newest.Artifact.Content.Equal(content) {
		return false
	}
	return newest.Status == polset.VersionReady ||
		newest.Status == polset.VersionErrored && newest.Error.OfContent()
}

// build turns content into a stored archive. The artifact that it returns
// beside an error says what of the content was known by then.
func (w *Worker) build(ctx context.Context, s Contents, content polset.Content) (polset.Artifact, error) {
	judged, err := w.judge(ctx, s, content)
	partial := polset.Artifact{Content: judged.content}
	if err != nil {
		return partial, err
	}
	files, directory, err := judged.archived()
	if err != nil {
		return partial, err
	}
	artifact, err := w.store(ctx, files)
	if err != nil {
		return partial, err
	}
	artifact.Content = judged.content
	artifact.Policies = judged.policies
	artifact.PoliciesDirectory = directory
	return artifact, nil
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
			return artifact, slowArchive(w.StoreTimeout, err)
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

// slowArchive is the failure of an archive that is not written by its deadline.
func slowArchive(limit time.Duration, err error) error {
	return storageFailure(fmt.Sprintf("It took longer than %s to write the archive, the limit that POLSET_STORE_TIMEOUT sets.", limit), err)
}

const spoolFull = "polset could not write its spool directory; its operator must make room."

func storageFailure(message string, err error) error {
	return &polset.Failure{Class: polset.ClassStorage, Message: message, Retry: true, Err: err}
}
