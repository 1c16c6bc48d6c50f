package worker

import (
	"context"
	"fmt"
	"io/fs"
	"time"
)

// An opener opens the files of an order, when they are needed.
type opener func(context.Context) (fs.FS, error)

// A conversation is the server's side of one order.
type conversation struct {
	*process
	order   order
	open    opener // nil: the order needs no files
	grace   time.Duration
	files   *served
	refused error // why there are no files
	answers chan answered
	asking  bool // a question waits for its answer
	timer   *time.Timer
}

type answered struct {
	answer answer
	data   []byte
}

// carryOut has an order carried out, which may take as long as its budget and
// the grace, from when its files are at hand. The error is a *deathError, one of
// open, why ctx ended, or what the worker says.
func (w *process) carryOut(ctx context.Context, o order, data []byte, open opener, grace time.Duration) (report, error) {
	c := &conversation{
		process: w, order: o, open: open, grace: grace,
		files: new(served), answers: make(chan answered, 1), timer: time.NewTimer(o.Budget + grace),
	}
	defer c.close()
	r, err := c.run(ctx, data)
	w.used = w.used || o.Op != opPlan
	switch {
	case err != nil:
		return r, err
	case c.refused != nil:
		return r, c.refused
	case ctx.Err() != nil:
		return r, ended(ctx)
	case r.Trouble != nil:
		return r, r.Trouble.error(c.files.faults)
	}
	return r, nil
}

// run goes on until the worker is done, or dead.
func (c *conversation) run(ctx context.Context, data []byte) (report, error) {
	if err := c.send(c.order, data); err != nil {
		return report{}, err
	}
	stopped := ctx.Done()
	for {
		var err error
		select {
		case r, ok := <-c.reports:
			if !ok {
				return r, c.death()
			}
			if r.Op == opDone && !c.asking {
				return r, nil
			}
			err = c.hear(ctx, r)
		case a := <-c.answers:
			c.asking = false
			err = c.send(order{Op: opAnswer, Answer: &a.answer}, a.data)
		case <-stopped:
			stopped = nil
			err = c.send(order{Op: opStop}, nil)
			c.timer.Reset(c.grace)
		case <-c.timer.C:
			if ctx.Err() != nil || c.refused != nil {
				return report{}, c.kill(causeStopped)
			}
			return report{}, c.kill(causeTime)
		}
		if err != nil {
			return report{}, err
		}
	}
}

// hear does what the worker asks for before it is done.
func (c *conversation) hear(ctx context.Context, r report) error {
	switch {
	case r.Op == opNeed && c.files.fsys == nil && c.refused == nil && c.open != nil:
		fsys, err := c.open(ctx)
		if err != nil {
			c.refused = err
			c.timer.Reset(c.grace)
			return c.send(order{Op: opRefuse}, nil)
		}
		c.files.fsys = fsys
		// What that took was not the policies' time.
		c.timer.Reset(c.order.Budget + c.grace)
		return c.send(order{Op: opBegin}, nil)
	case r.Op == opAsk && r.Question != nil && c.files.fsys != nil && !c.asking:
		c.asking = true
		go func() { // a file system that hangs must not hold up a kill
			if err := ctx.Err(); err != nil {
				c.answers <- answered{answer: answer{Fault: c.files.fault(err)}}
				return
			}
			a, data := c.files.answer(*r.Question)
			c.answers <- answered{a, data}
		}()
		return nil
	}
	return fmt.Errorf("report %q: %w", r.Op, c.kill(causeNonsense))
}

// close ends the conversation. A question that is being answered is waited for
// elsewhere.
func (c *conversation) close() {
	c.timer.Stop()
	if !c.asking {
		c.files.close()
		return
	}
	go func() {
		<-c.answers
		c.files.close()
	}()
}
