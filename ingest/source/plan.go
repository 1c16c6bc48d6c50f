package source

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A plan is one way to obtain objects.
type plan struct {
	name    string // in logs, metrics and Stats
	version int    // of git's protocol
	filter  bool   // the server leaves out what a filter names, and gives any object
	deepen  bool   // it gives only what its refs point at
}

func planV2Filter() plan { return plan{name: "v2-filter", version: 2, filter: true} }
func planV0Filter() plan { return plan{name: "v0-filter", filter: true} }
func planV2Depth1() plan { return plan{name: "depth1", version: 2} }
func planV0Depth1() plan { return plan{name: "depth1"} }
func planDeepen() plan   { return plan{name: "deepen", deepen: true} }

// nextPlan finds another way after the server refused the present one. What
// was assumed of a server is asked of it first. Without another way, the
// refusal is the failure.
func (r *repository) nextPlan(ctx context.Context, refused *refusal) error {
	from := r.plans[0]
	if r.known {
		r.plans = r.plans[1:]
	} else if err := r.discover(ctx, refused, func(ref) error { return nil }); err != nil {
		return err
	}
	if len(r.plans) == 0 {
		r.git.plans.forget(r.remote.url.String())
		r.plans, r.known = []plan{planV2Filter()}, false // whoever asks again begins anew
		return refused.failure
	}
	r.git.log.Info("git server refused a way of fetching",
		zap.String("repo", r.remote.shown), zap.String("plan", from.name),
		zap.String("next", r.plans[0].name), zap.Error(refused.failure.Err))
	return nil
}

// discover asks the server what it can do, and chooses the plans from it. A
// server of protocol 0 lists its refs as well, which visit sees.
func (r *repository) discover(ctx context.Context, refused *refusal, visit func(ref) error) error {
	ad, err := r.advertise(ctx, true, visit)
	if err != nil {
		return err
	}
	r.known = true
	r.plans = nil
	switch {
	case ad.version == 2 && ad.filter && !refused.filter:
		// The refusal may have been a passing fault; or the version was lost
		// on the way, as behind some proxies.
		r.plans = append(r.plans, planV2Filter(), planV0Filter())
		fallthrough
	case ad.version == 2:
		r.plans = append(r.plans, planV2Depth1(), planV0Depth1())
	case ad.anySHA1 && ad.filter:
		r.plans = append(r.plans, planV0Filter(), planV0Depth1())
	case ad.anySHA1:
		// Where any commit may be wanted, one that is refused is not there.
		r.plans = append(r.plans, planV0Depth1())
	default:
		r.plans = append(r.plans, planV0Depth1(), planDeepen())
	}
	r.git.plans.remember(r.remote.url.String(), r.plans)
	return nil
}

// maxRemembered bounds the memory of plans.
const maxRemembered = 4096

// planMemory remembers which plan worked for a repository, for a while, so
// that only the first fetch of a restricted server pays for finding out. It is
// safe for concurrent use.
type planMemory struct {
	keep time.Duration
	mu   sync.Mutex
	byID map[string]rememberedPlans
}

type rememberedPlans struct {
	plans []plan
	until time.Time
}

func newPlanMemory(keep time.Duration) *planMemory {
	return &planMemory{keep: keep, byID: map[string]rememberedPlans{}}
}

// recall returns what to try, and whether it is known to be the server's; what
// GitHub can do is assumed of everybody else.
func (m *planMemory) recall(repository string) ([]plan, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.byID[repository]; ok && time.Now().Before(e.until) {
		return append([]plan(nil), e.plans...), true
	}
	delete(m.byID, repository)
	return []plan{planV2Filter()}, false
}

func (m *planMemory) remember(repository string, plans []plan) {
	if len(plans) == 1 && plans[0] == planV2Filter() {
		return // the assumption held
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.byID[repository]; ok && len(e.plans) == len(plans) {
		return // and expires when it would have: the server may have learnt
	}
	if len(m.byID) >= maxRemembered {
		for id := range m.byID { // any: what is forgotten is found out again
			delete(m.byID, id)
			break
		}
	}
	m.byID[repository] = rememberedPlans{append([]plan(nil), plans...), time.Now().Add(m.keep)}
}

func (m *planMemory) forget(repository string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byID, repository)
}
