package githubapp

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

const createHookRoute = "POST /repos/{owner}/{repo}/hooks"

// hookRows are the hooks of a store in memory.
type hookRows struct {
	mu       sync.Mutex
	rows     []polset.HookTask
	outcomes []polset.HookOutcome
}

func (s *hookRows) ClaimHooks(_ context.Context, n int, _ time.Duration) ([]polset.HookTask, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, len(s.rows))
	claimed := s.rows[:n:n]
	s.rows = s.rows[n:]
	return claimed, nil
}

func (s *hookRows) SettleHook(_ context.Context, o polset.HookOutcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes = append(s.outcomes, o)
	return nil
}

const (
	publicURL = "https://polset.example.com"
	hookUUID  = "5d7f6f7e-0f5a-4d5f-8a53-0a3d6a4b6c11"
	hookURL   = publicURL + "/webhooks/vcs/" + hookUUID
)

// keep works on one task and returns what became of it.
func keep(w *world, task polset.HookTask) polset.HookOutcome {
	w.t.Helper()
	rows := &hookRows{rows: []polset.HookTask{task}}
	k, err := NewHookKeeper(HookKeeperConfig{Client: w.client, Hooks: rows, PublicURL: publicURL + "/", Logger: w.log})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := k.Step(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.github.Settle()
	if len(rows.outcomes) != 1 {
		w.t.Fatalf("%d outcomes, want 1", len(rows.outcomes))
	}
	return rows.outcomes[0]
}

// hookTask is one of which nobody hears the pings: polset.example.com is not
// this test.
func (w *world) hookTask(scopes ...string) polset.HookTask {
	w.github.DropDeliveries(true)
	return polset.HookTask{
		Lease: polset.Lease{IngestionID: hookUUID, Number: 3}, HookID: hookUUID, Remote: w.connection(scopes...), Connected: true,
		Secret: polset.NewSecret("hook-s3cret"), Revision: 5,
	}
}

// asWanted expects one hook, as polset wants it.
func (w *world) asWanted(secret string) hub.Hook {
	w.t.Helper()
	hooks := w.repo.Hooks()
	if len(hooks) != 1 {
		w.t.Fatalf("%d hooks, want 1: %+v", len(hooks), hooks)
	}
	want := hub.Hook{
		ID: hooks[0].ID, URL: hookURL, Secret: secret, ContentType: "json", InsecureSSL: "0",
		Events: []string{"push", "pull_request", "repository"}, Active: true,
	}
	if diff := cmp.Diff(want, hooks[0]); diff != "" {
		w.t.Errorf("hook (-want +got):\n%s", diff)
	}
	return hooks[0]
}

func TestHookLife(t *testing.T) {
	w := newWorld(t)
	task := w.hookTask("repo", "admin:repo_hook")
	o := keep(w, task)
	hook := w.asWanted("hook-s3cret")
	if o.Failure != nil || o.Manual != "" || o.Revision != 5 || o.ExternalID != hook.ID || o.Lease != task.Lease {
		t.Fatalf("outcome %+v", o)
	}

	task.ExternalID, task.Secret, task.Revision = hook.ID, polset.NewSecret("rotated-s3cret"), 6
	if o = keep(w, task); o.Revision != 6 || o.ExternalID != hook.ID {
		t.Fatalf("after the rotation: %+v", o)
	}
	w.asWanted("rotated-s3cret")

	w.repo.DeleteHook(hook.ID) // by hand
	if o = keep(w, task); o.Revision != 6 || o.ExternalID == hook.ID {
		t.Fatalf("after somebody removed it: %+v", o)
	}
	hook = w.asWanted("rotated-s3cret")

	task.ExternalID, task.Remove, task.Revision = hook.ID, true, 7
	if o = keep(w, task); o.Revision != 7 || o.ExternalID != 0 || len(w.repo.Hooks()) != 0 {
		t.Fatalf("after the removal: %+v, %+v", o, w.repo.Hooks())
	}
	if o = keep(w, task); o.Revision != 7 || o.Failure != nil || o.Manual != "" {
		t.Fatalf("of a hook that is gone: %+v", o)
	}
	for _, entry := range w.logs.All() {
		noneOf(t, shown(entry), "hook-s3cret", "rotated-s3cret")
	}
}

func TestHookIsTakenOver(t *testing.T) {
	for name, prepare := range map[string]func(w *world, task polset.HookTask){
		"made by hand": func(w *world, _ polset.HookTask) { w.repo.AddHook(hookURL, "other", "push") },
		"made before a crash": func(w *world, task polset.HookTask) {
			w.github.Fault(createHookRoute, polsettest.Times(1, hub.Lost()))
			if o := keep(w, task); o.Failure == nil || !o.Failure.Retry || o.Revision != 0 {
				t.Fatalf("outcome %+v, want one to be tried again", o)
			}
		},
		"made by somebody between the look and the creation": func(w *world, _ polset.HookTask) {
			w.repo.AddHook(hookURL, "other", "push")
			// The first look does not find it.
			w.github.Fault("GET /repos/{owner}/{repo}/hooks", polsettest.Times(1, polsettest.Status(200, "[]")))
		},
		"on the second page": func(w *world, _ polset.HookTask) {
			w.github.DropDeliveries(true) // of the pings
			for i := range 110 {
				w.repo.AddHook("https://other.example.com/"+strings.Repeat("x", i+1), "other", "push")
			}
			w.repo.AddHook(hookURL, "other", "push")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			task := w.hookTask("repo", "admin:repo_hook")
			prepare(w, task)
			o := keep(w, task)
			if o.Failure != nil || o.Manual != "" || o.Revision != 5 {
				t.Fatalf("outcome %+v", o)
			}
			ours := 0
			for _, h := range w.repo.Hooks() {
				if h.URL == hookURL {
					ours++
					if h.Secret != "hook-s3cret" || h.ID != o.ExternalID {
						t.Errorf("hook %+v, outcome %+v", h, o)
					}
				}
			}
			if ours != 1 {
				t.Errorf("%d hooks lead to polset, want 1", ours)
			}
		})
	}
}

func TestHookByHand(t *testing.T) {
	for name, test := range map[string]struct {
		task  func(*world) polset.HookTask
		parts []string
	}{
		"a token without the scope": {func(w *world) polset.HookTask { return w.hookTask("repo:status") }, nil},
		"a token without rights there": {func(w *world) polset.HookTask {
			task := w.hookTask()
			mallory := w.github.User("mallory")
			w.repo.Grant(mallory, "write")
			task.Remote.Token = polset.NewSecret(w.github.PersonalToken(mallory, "repo", "admin:repo_hook"))
			return task
		}, nil},
		"a token that is not valid": {func(w *world) polset.HookTask {
			task := w.hookTask("repo")
			w.github.RevokeToken(task.Remote.Token.Reveal())
			return task
		}, []string{"does not accept the credential"}},
		"no token": {func(w *world) polset.HookTask {
			task := w.hookTask()
			task.Connected, task.Remote.Token = false, polset.Secret{}
			return task
		}, []string{"connection was deleted"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := keep(w, test.task(w))
			if o.Failure != nil || o.Revision != 0 || o.Manual == "" {
				t.Fatalf("outcome %+v, want one by hand", o)
			}
			for _, part := range append(test.parts, hookURL, w.github.URL()+"/acme/policies/settings/hooks/new",
				"application/json", "pull requests", "admin:repo_hook", "Webhooks: read and write") {
				holds(t, o.Manual, part)
			}
			noneOf(t, o.Manual, "hook-s3cret")
			if len(w.repo.Hooks()) != 0 {
				t.Errorf("hooks %+v", w.repo.Hooks())
			}
		})
	}
	t.Run("a token that may change, not remove", func(t *testing.T) {
		w := newWorld(t)
		hook := w.repo.AddHook(hookURL, "x")
		task := w.hookTask("write:repo_hook")
		task.ExternalID, task.Remove = hook.ID, true
		o := keep(w, task)
		if o.Manual == "" || o.Revision != 0 {
			t.Fatalf("outcome %+v, want one by hand", o)
		}
		holds(t, o.Manual, "Remove the one with the payload URL "+hookURL)
	})
	t.Run("a token that may not see the hooks any more", func(t *testing.T) {
		w := newWorld(t)
		hook := w.repo.AddHook(hookURL, "x")
		task := w.hookTask("repo", "admin:repo_hook")
		task.ExternalID, task.Remove = hook.ID, true
		w.github.Fault("GET /repos/{owner}/{repo}/hooks", polsettest.Status(404, `{"message":"Not Found"}`))
		w.github.Fault("DELETE /repos/{owner}/{repo}/hooks/{hook_id}", polsettest.Status(404, `{"message":"Not Found"}`))
		o := keep(w, task)
		if o.Manual == "" || o.Failure != nil || o.Revision != 0 || o.ExternalID != hook.ID {
			t.Fatalf("outcome %+v, want one by hand", o)
		}
		holds(t, o.Manual, "Remove the one with the payload URL "+hookURL+" at "+w.github.URL()+"/acme/policies/settings/hooks")
		holds(t, o.Manual, "does not tell what is missing from what the credential may not see")
	})
	t.Run("the list of what is left is not to be had for now", func(t *testing.T) {
		w := newWorld(t)
		task := w.hookTask("repo", "admin:repo_hook")
		task.ExternalID, task.Remove = 99, true
		w.github.Fault("GET /repos/{owner}/{repo}/hooks", polsettest.Status(502, ""))
		if o := keep(w, task); o.Manual != "" || o.Failure == nil || !o.Failure.Retry {
			t.Fatalf("outcome %+v, want one to be tried again", o)
		}
	})
}

func TestHookIsTriedAgain(t *testing.T) {
	for name, fault := range map[string]polsettest.Fault{
		"an outage": polsettest.Status(502, ""),
		"a limit":   polsettest.SecondaryRateLimited(90 * time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			task := w.hookTask("repo", "admin:repo_hook")
			w.github.Fault("", polsettest.Times(1, fault))
			o := keep(w, task)
			if o.Failure == nil || !o.Failure.Retry || o.Manual != "" || o.Revision != 0 {
				t.Fatalf("outcome %+v, want one to be tried again", o)
			}
			w.clock.pass(2 * time.Minute)
			if o := keep(w, task); o.Revision != 5 {
				t.Fatalf("outcome %+v", o)
			}
			w.asWanted("hook-s3cret")
		})
	}
}
