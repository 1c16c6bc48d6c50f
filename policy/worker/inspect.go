package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/polset/polset"
)

// Inspect reads the configuration of the set at dir in fsys and does what
// policy.Set.Inspect does, in a worker. Its errors are those of policy.Read and
// Inspect, and besides a *polset.Failure: of class limit where the policies need
// more memory or time than a worker has, of class internal, worth another
// attempt, where the worker failed, not the content.
//
// The time counts from when a worker begins. How long that takes is up to ctx.
func (p *Pool) Inspect(ctx context.Context, fsys fs.FS, dir string, kind polset.Kind) ([]polset.PolicySummary, error) {
	ctx, end, err := p.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	place, err := p.take(ctx, false, nil)
	if err != nil {
		return nil, fmt.Errorf("wait for a policy worker: %w", err)
	}
	defer place.leave()
	r, err := place.do(ctx, order{Op: opInspect, Dir: dir, Kind: kind, Budget: p.InspectTimeout}, nil,
		func(context.Context) (fs.FS, error) { return fsys, nil }, nil)
	over := polset.Fail(polset.ClassLimit,
		"The policies take longer than %s to compile, the limit that POLSET_VALIDATE_TIMEOUT sets.", p.InspectTimeout)
	var d *deathError
	switch {
	case err == nil:
		return r.Summaries, nil
	case errors.As(err, &d):
		return nil, p.failure(d, "The policies need", over)
	case r.Trouble != nil && r.Trouble.Over && ctx.Err() == nil:
		over.Err = err
		return nil, over
	}
	return nil, err
}
