package main_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

// TestAppStorm has two nodes on PostgreSQL and S3 follow repositories through
// crashes, lost deliveries, outages, limits and lost answers at once. When the
// storm is over, every branch is in force and every commit that a version was
// made of says so on GitHub, once.
func TestAppStorm(t *testing.T) {
	const repositories, rounds = 4, 8
	bucket := polsettest.NewBucket(t)
	w := newAppWorld(t)
	shared := slices.DeleteFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "POLSET_DATA_DIR=") })
	environ := cluster(t, w.Hub.Git(), bucket, polsettest.Postgres(t), bucket.URL("storm"), append(shared,
		"POLSET_RECONCILE_INTERVAL=2s", "POLSET_MAX_ATTEMPTS=50")...)
	w.env = environ()
	others := environ()
	other := start(t, others)
	w.Start()
	all, ids := make([]*hub.Repository, repositories), make([]string, repositories)
	for i := range all {
		all[i] = w.Hub.Repository(fmt.Sprintf("acme/policies-%d", i))
		all[i].Commit("main", policies("policies", 1, "before"))
	}
	w.InstallFor("acme")
	for i, r := range all {
		ids[i] = w.Set("acme", fmt.Sprintf("set-%d", i), r)
	}

	random := rand.New(rand.NewPCG(7, 3)) //nolint:gosec // repeatable
	faults := []func(on bool){
		func(on bool) { w.Hub.DropDeliveries(on) },
		func(on bool) { w.Hub.Down(hub.Outage{REST: on}) },
		func(on bool) { w.Hub.Down(hub.Outage{Git: on}) },
		func(on bool) {
			var f polsettest.Fault
			if on {
				f = polsettest.Times(2, hub.Lost())
			}
			w.Hub.Fault("POST /repos/{owner}/{repo}/check-runs", f)
		},
		func(on bool) {
			var f polsettest.Fault
			if on {
				f = polsettest.Times(2, polsettest.SecondaryRateLimited(time.Second))
			}
			w.Hub.Fault("", f)
		},
	}
	for round := range rounds {
		fault := faults[random.IntN(len(faults))]
		fault(true)
		for i, r := range all {
			r.Push("main", policies("policies", 1+round%3, fmt.Sprintf("round %d of %d", round, i)))
		}
		switch round % 3 {
		case 1:
			other.Kill()
			other = start(t, others)
		case 2:
			w.Restart()
		}
		fault(false)
	}

	for i, r := range all {
		w.Ready(ids[i], r.Head("main"))
		w.Degraded(ids[i], "")
		w.Node.Settled(ids[i], time.Minute)
		name := fmt.Sprintf("polset/acme/set-%d", i)
		for _, v := range w.Node.Versions(ids[i]) {
			commit := text(v, "attributes", "ingress-attributes", "commit-sha")
			eventually(t, 2*time.Minute, fmt.Sprintf("reported: %s of %s", commit, r.Identifier()), func() bool {
				return r.LatestCheckRuns(commit)[name].Conclusion == "success"
			})
		}
	}
	out, err := command(t, w.env, "audit", "verify")
	if err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}
