package ingest

import (
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// ignore ends the ingestion of a commit that changes nothing that the update
// patterns name, and reports whether it did. Whatever is in doubt is not ignored:
// the commit is ingested then. An error is one of the task.
func (w *Worker) ignore(s Snapshot, g *group, t task) (ignored bool, err error) {
	i := t.Ingestion
	// What has a version began to be ingested, and ends so.
	if len(i.UpdatePatterns) == 0 || i.Cause.Asked() || i.VersionID != "" || t.Processed == "" {
		return false, nil
	}
	log := w.Logger.With(w.facts(t)...).With(zap.String("since", t.Processed))
	patterns, err := polset.ParsePatterns(i.UpdatePatterns)
	if err != nil {
		log.Error("update patterns cannot be read; the commit is ingested", zap.Error(err))
		return false, nil
	}
	path, err := w.changed(t.Ctx, s, t.Processed, patterns)
	switch f := polset.FailureOf(err); {
	case err == nil && path != "":
		log.Debug("a path matches the update patterns", zap.String("path", path))
		return false, nil
	case err == nil:
	case t.Ctx.Err() != nil || w.again(t, f):
		return false, err
	default:
		log.Info("commits cannot be compared; the commit is ingested", zap.String("class", string(f.Class)), zap.Error(err))
		return false, nil
	}

	w.lookAgain(t.Ctx, g, i.Commit)
	err = w.Endings.Ignore(t.Ctx, t.Lease, t.Processed, nothingMatches(t.Processed, i.UpdatePatterns))
	if errors.Is(err, polset.ErrConflict) {
		log.Info("another version is in force by now; the commit is ingested")
		return false, nil
	}
	return err == nil, err
}

// namedPatterns is how many patterns a reason names.
const namedPatterns = 5

// nothingMatches is the reason of what is ignored.
func nothingMatches(since string, patterns []string) string {
	named := patterns[:min(len(patterns), namedPatterns)]
	list := strings.Join(named, ", ")
	if more := len(patterns) - len(named); more > 0 {
		list = fmt.Sprintf("%s and %d more", list, more)
	}
	return fmt.Sprintf("no path that changed since commit %s matches policy-update-patterns: %s", since, list)
}
