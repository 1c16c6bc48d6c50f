package worker

import (
	"context"
	"slices"
	"sync"

	"github.com/polset/polset"
)

// MinSize is how few workers a pool may have: one for evaluations, and one that
// they leave free.
const MinSize = 2

// A queue gives workers to whoever waits, first come, first served, so that
// everybody's turn comes: whatever has a worker has a limit of time.
//
// Evaluations get all workers but one. A check has many sets, each with a budget
// of its own, and the runs of one tenant may be many; behind them a push, whose
// compilation takes a moment, would wait for as long as all of them take. An
// inspection is one set, and few are made at once (POLSET_WORKERS, POLSET_UPLOADS),
// so that inspections may have every worker: a check behind them waits for a few
// of their limits at worst.
type queue struct {
	size int

	mu         sync.Mutex
	idle       []*process // the one used last at the end
	busy       int        // places
	evaluating int        // of them
	waiting    []*waiter  // in the order in which they came
}

// A setKey names what a worker compiled: see policy.SetEvaluation.
type setKey struct {
	key, dir string
	kind     polset.Kind
}

// A waiter is somebody who waits for a place.
type waiter struct {
	evaluation bool
	sets       []setKey
	given      chan *process // holds its place, once it is there: nil is one without a worker
}

func newQueue(size int) *queue { return &queue{size: size} }

// take waits for a place and returns its worker, nil where there is none yet.
func (q *queue) take(ctx context.Context, evaluation bool, sets []setKey) (*process, error) {
	me := &waiter{evaluation, sets, make(chan *process, 1)}
	q.mu.Lock()
	q.waiting = append(q.waiting, me)
	q.give()
	q.mu.Unlock()
	select {
	case w := <-me.given:
		return w, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	i := slices.Index(q.waiting, me)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	q.mu.Unlock()
	if i < 0 { // it was given meanwhile
		q.leave(evaluation, <-me.given)
	}
	return nil, ended(ctx)
}

// leave gives a place back, with its worker unless that is gone.
func (q *queue) leave(evaluation bool, w *process) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	if evaluation {
		q.evaluating--
	}
	if w != nil {
		q.idle = append(q.idle, w)
	}
	q.give()
}

// give gives the places that are free to those that wait. The caller holds mu.
func (q *queue) give() {
	q.waiting = slices.DeleteFunc(q.waiting, func(w *waiter) bool {
		if q.busy == q.size || w.evaluation && q.evaluating == q.size-1 {
			return false
		}
		q.busy++
		if w.evaluation {
			q.evaluating++
		}
		w.given <- q.choose(w.sets)
		return true
	})
}

// choose takes the idle worker that has compiled most of the sets; of equals the
// one that was used last, so that what the others have compiled is kept.
func (q *queue) choose(sets []setKey) *process {
	q.idle = slices.DeleteFunc(q.idle, (*process).gone) // somebody killed it
	best, most := -1, -1
	for i, w := range q.idle {
		if n := w.compiled.count(sets); n >= most {
			best, most = i, n
		}
	}
	if best < 0 {
		return nil
	}
	w := q.idle[best]
	q.idle = slices.Delete(q.idle, best, best+1)
	return w
}

// drain returns the idle workers, to be ended. Nobody takes a place any more.
func (q *queue) drain() []*process {
	q.mu.Lock()
	defer q.mu.Unlock()
	idle := q.idle
	q.idle = nil
	return idle
}

// count says how many places are taken, and how many wait for one.
func (q *queue) count() (busy, waiting, alive int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	alive = q.busy
	for _, w := range q.idle {
		if !w.gone() {
			alive++
		}
	}
	return q.busy, len(q.waiting), alive
}

// compiled are the sets that a worker has compiled, as far as it still holds
// them: those used last, the latest at the end.
type compiled []setKey

func (c compiled) count(sets []setKey) (n int) {
	for _, s := range sets {
		if slices.Contains(c, s) {
			n++
		}
	}
	return n
}

// used notes that a set was compiled, or used again.
func (c *compiled) used(s setKey) {
	if s.key == "" {
		return
	}
	*c = slices.DeleteFunc(*c, func(o setKey) bool { return o == s })
	if *c = append(*c, s); len(*c) > keptSets {
		*c = slices.Delete(*c, 0, 1)
	}
}
