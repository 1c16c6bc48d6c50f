package main

import (
	"context"
	"fmt"
	"time"
)

// glance is how often the API is asked while something is awaited.
const glance = 5 * time.Millisecond

// poll asks until there is nothing more to wait for, and shows each state.
func (w *world) poll(ctx context.Context, what string, ask func() (state string, done bool, err error)) error {
	line := w.track(what)
	defer line.end()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		state, done, err := ask()
		if err != nil {
			return err
		}
		line.at(state)
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitVersion waits until the version that a commit made has ended, and
// wants it to have ended so.
func (w *world) awaitVersion(ctx context.Context, setID, commit, want string) (v version, err error) {
	err = w.poll(ctx, "version  ", func() (string, bool, error) {
		list, err := w.api.versions(ctx, setID, commit)
		if err != nil || len(list) == 0 {
			return "accepted", false, err
		}
		v = list[0]
		status := v.Attributes.Status
		return status, status == "ready" || status == "errored", nil
	})
	if err == nil && v.Attributes.Status != want {
		err = fmt.Errorf("version %s of %s is %s, expected %s: %s", v.ID, short(commit), v.Attributes.Status, want, v.Attributes.ErrorMessage)
	}
	return v, err
}

// awaitIngestion waits until a commit has ended, and wants it to have ended so.
func (w *world) awaitIngestion(ctx context.Context, setID, commit, want string) (i ingestion, err error) {
	err = w.poll(ctx, "ingestion", func() (string, bool, error) {
		list, err := w.api.ingestions(ctx, setID, commit)
		if err != nil || len(list) == 0 {
			return "accepted", false, err
		}
		i = list[0]
		status := i.Attributes.Status
		return status, status != "pending" && status != "running", nil
	})
	if err == nil && i.Attributes.Status != want {
		err = fmt.Errorf("ingestion %s of %s is %s, expected %s: %s", i.ID, short(commit), i.Attributes.Status, want, i.Attributes.Reason)
	}
	return i, err
}

// current wants a version to be the one in force.
func (w *world) current(ctx context.Context, setID, want string) error {
	var set policySet
	if err := w.api.get(ctx, "/api/v2/policy-sets/"+setID, &set); err != nil {
		return err
	}
	if got := set.Relationships.CurrentVersion.Data.ID; got != want {
		return fmt.Errorf("the current version is %q, expected %s", got, want)
	}
	return nil
}
