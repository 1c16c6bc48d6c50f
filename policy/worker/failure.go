package worker

import (
	"fmt"

	"github.com/polset/polset"
)

// failure is what the death of a worker means for what it worked on; need begins
// the sentence that says so of memory, over is the failure of its time.
func (p *Pool) failure(d *deathError, need string, over *polset.Failure) *polset.Failure {
	var f *polset.Failure
	switch d.cause {
	case causeTime:
		f = over
	case causeMemory:
		f = polset.Fail(polset.ClassLimit, "%s more than %s of memory, the limit that POLSET_WORKER_MEMORY sets.",
			need, size(p.Memory))
	case causeStack:
		f = polset.Fail(polset.ClassLimit, "%s a stack of more than %s, a quarter of the memory that POLSET_WORKER_MEMORY sets.",
			need, size(p.Memory/stackShare))
	default:
		f = &polset.Failure{
			Class: polset.ClassInternal, Retry: true,
			Message: "The process that worked on this broke down, or was killed; polset's log says more.",
		}
	}
	f.Err = d
	return f
}

// tooLarge is the failure of what does not fit into a frame.
func tooLarge(what string, err error) *polset.Failure {
	f := polset.Fail(polset.ClassLimit, "%s takes more than %s in JSON, the limit for a policy set.", what, size(maxMessage))
	f.Err = err
	return f
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
