package lease

import (
	"fmt"
	"hash/fnv"
	"runtime/debug"
	"time"

	"github.com/polset/polset"
)

// MaxWait bounds a wait that the other side asks for.
const MaxWait = time.Hour

// Retries says how often, and after what wait, a failure is met again.
type Retries struct {
	Most int           // attempts that end in a passing fault
	Base time.Duration // the first wait
}

// Attempts is how often a failure is met. A server that hangs holds a worker
// each time, and one that sends nonsense rarely thinks better of it: they get
// half.
func (r Retries) Attempts(f *polset.Failure) int {
	if f.Hung || f.Class == polset.ClassGitCorrupt {
		return max(1, r.Most/2)
	}
	return r.Most
}

// Wait doubles with each failure, and honours a longer wait that was asked
// for. It is spread by a tenth, by key: those of one outage do not come back
// as one, but what has one key does.
func (r Retries) Wait(failures int, key string, asked time.Duration) time.Duration {
	d := min(r.Base<<min(failures, 12), MaxWait)
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash does not fail
	d += time.Duration(float64(d) / 10 * float64(h.Sum32()) / (1 << 32))
	return max(d, min(asked, MaxWait))
}

// Panicked is the failure that a panic becomes.
func Panicked(p any) error {
	return &polset.Failure{
		Class: polset.ClassInternal, Retry: true,
		Message: "polset failed on this content; its log says where.",
		Err:     fmt.Errorf("panic: %v\n%s", p, debug.Stack()),
	}
}
