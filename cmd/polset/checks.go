package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/check"
	"github.com/polset/polset/ingest"
	"github.com/polset/polset/store/object"
)

// newChecker returns what brings the checks of runs to their verdicts.
func (c config) newChecker(n *node, objects ingest.Code, log *zap.Logger, registry prometheus.Registerer) (*check.Checker, error) {
	return check.New(check.Config{
		Checks: n.store, Plans: plans{objects, c.MaxPlanBytes, c.limits()}, Archives: archives{objects, c.limits()},
		Evaluators:          map[polset.Kind]check.Evaluator{polset.KindOPA: n.pool},
		TolerateMissingPlan: c.Conformance,
		Budget:              c.CheckTimeout, StoreTimeout: c.StoreTimeout,
		Lease: c.Lease, MaxAttempts: c.MaxAttempts, RetryBase: c.RetryBase,
		Wake: n.store.CheckDue(), Concurrency: c.Checks,
		Logger: log.Named("check"), Registerer: registry,
	})
}

// planFile is the plan in the upload of a configuration version, at its root.
const planFile = "tfplan.json"

// plans are those in the uploads of configuration versions, which are kept as
// they came.
type plans struct {
	objects ingest.Code
	most    int64 // bytes
	limits  archive.Limits
}

// Plan implements check.Plans.
func (p plans) Plan(ctx context.Context, digest string) ([]byte, error) {
	var plan []byte
	err := readObject(ctx, p.objects, digest, "the upload of the configuration version", func(r io.Reader) (err error) {
		plan, err = archive.Find(ctx, r, planFile, p.most, p.limits)
		return err
	})
	var large *archive.TooLargeError
	switch {
	case errors.As(err, &large):
		return nil, polset.Fail(polset.ClassLimit,
			"The plan has %d bytes, more than the limit of %d (POLSET_MAX_PLAN_BYTES). Plan less at once, or have the limit raised.", large.Size, large.Most)
	case errors.Is(err, errNoFile):
		return nil, polset.Fail(polset.ClassPathNotFound,
			"The configuration version holds no plan. Write one (terraform plan -out=tfplan, then terraform show -json tfplan > %s), "+
				"upload a configuration version with %s at its root, and queue a run of it.", planFile, planFile)
	}
	return plan, err
}

// archives are those of versions, which polset wrote.
type archives struct {
	objects ingest.Code
	limits  archive.Limits
}

// Open implements check.Archives.
func (a archives) Open(ctx context.Context, digest string) (fsys fs.FS, err error) {
	err = readObject(ctx, a.objects, digest, "the archive of the policy set", func(r io.Reader) error {
		fsys, err = archive.Read(ctx, r, a.limits)
		return err
	})
	return fsys, err
}

// errNoFile says that an object was read, and holds no such file.
var errNoFile = errors.New("no such file")

// readObject has an object read to its end, since only that shows that it is
// whole. The error is that of ctx, errNoFile or what the reader says of the
// content, or a *polset.Failure.
func readObject(ctx context.Context, objects ingest.Code, digest, what string, read func(io.Reader) error) error {
	r, _, err := objects.Open(ctx, digest)
	if err == nil {
		err = read(r)
		if errors.Is(err, fs.ErrNotExist) {
			err = errNoFile
		}
		if err != nil && !errors.Is(err, errNoFile) {
			// Only at its end it shows whether it is what was put there.
			if _, rest := io.Copy(io.Discard, r); errors.Is(rest, object.ErrMismatch) {
				err = rest
			}
		}
		err = errors.Join(err, r.Close())
	}
	var said *polset.Failure
	var large *archive.TooLargeError
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, errNoFile), errors.As(err, &said), errors.As(err, &large):
		return err
	}
	f := &polset.Failure{Class: polset.ClassStorage, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Message = fmt.Sprintf("The object storage has lost %s. Upload it again, and queue another run.", what)
	case errors.Is(err, object.ErrMismatch):
		f.Message = fmt.Sprintf("The object storage has damaged %s. Upload it again, and queue another run.", what)
	default:
		f.Retry = true
		f.Message = fmt.Sprintf("The object storage did not give out %s; polset's log says why.", what)
	}
	return f
}
