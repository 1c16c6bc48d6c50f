package ingest

import (
	"fmt"
	"hash/fnv"
	"runtime/debug"
	"time"

	"github.com/polset/polset"
)

// maxWait bounds a wait that the other side asks for.
const maxWait = time.Hour

// retries says how often, and after what wait, a failure is met again.
type retries struct {
	most int           // attempts that end in a passing fault
	base time.Duration // the first wait
}

// attempts is how often a failure is met. A server that hangs holds a worker
// each time, and one that sends nonsense rarely thinks better of it: they get
// half.
func (r retries) attempts(f *polset.Failure) int {
	if f.Hung || f.Class == polset.ClassGitCorrupt {
		return max(1, r.most/2)
	}
	return r.most
}

// wait doubles with each failure, and honours a longer wait that was asked
// for. It is spread by a tenth, by key: those of one outage do not come back
// as one, but what has one key does.
func (r retries) wait(failures int, key string, asked time.Duration) time.Duration {
	d := min(r.base<<min(failures, 12), maxWait)
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash does not fail
	d += time.Duration(float64(d) / 10 * float64(h.Sum32()) / (1 << 32))
	return max(d, min(asked, maxWait))
}

// panicked is the failure that a panic becomes.
func panicked(p any) error {
	return &polset.Failure{
		Class: polset.ClassInternal, Retry: true,
		Message: "polset failed on this content; its log says where.",
		Err:     fmt.Errorf("panic: %v\n%s", p, debug.Stack()),
	}
}
