package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// A repository is one that the git server serves.
type repository struct {
	recipe
	Identifier string   `json:"identifier"`
	ID         int64    `json:"id"`
	URL        string   `json:"url"`
	Commit     string   `json:"commit"`
	Next       string   `json:"next"`    // a commit after it, on a branch of its own
	Tree       string   `json:"tree"`    // of policiesPath
	Packed     int64    `json:"packed"`  // bytes on the server's disk
	Wanted     int64    `json:"wanted"`  // bytes of a pack of nothing but what a fetch must bring
	Objects    int      `json:"objects"` // in that pack
	History    []string `json:"history"` // the commits after the first, from the oldest
}

// traffic is what the git server has answered, and what that took it.
type traffic struct {
	Requests int           `json:"requests"`
	Sent     int64         `json:"sent"`   // bytes of the answers' bodies
	Served   time.Duration `json:"served"` // CPU of the server and its children
}

// gitQuestion is asked of the child that serves git; one field is set.
type gitQuestion struct {
	Start   string  `json:"start,omitempty"` // the directory of the repositories
	Make    *recipe `json:"make,omitempty"`
	Traffic bool    `json:"traffic,omitempty"` // since the last time
	Hold    *bool   `json:"hold,omitempty"`    // whether requests are left without an answer
}

// A gitServer is the child that serves git.
type gitServer struct {
	*child
	URL string
}

const roleGit = "git"

func startGitServer(ctx context.Context, dir, temp string) (*gitServer, error) {
	dir, err := filepath.Abs(filepath.Join(dir, "edition-"+edition))
	if err != nil {
		return nil, fmt.Errorf("find the repositories' directory: %w", err)
	}
	c, err := startChild(ctx, roleGit, filepath.Join(temp, "git"))
	if err != nil {
		return nil, err
	}
	s := &gitServer{child: c}
	if err := c.ask(gitQuestion{Start: dir}, &s.URL); err != nil {
		return nil, errors.Join(fmt.Errorf("start the git server: %w", err), c.stop())
	}
	return s, nil
}

func (s *gitServer) make(r recipe) (made repository, err error) {
	err = s.ask(gitQuestion{Make: &r}, &made)
	return made, err
}

// traffic returns what was answered since it was last asked.
func (s *gitServer) traffic() (t traffic, err error) {
	err = s.ask(gitQuestion{Traffic: true}, &t)
	return t, err
}

// hold makes the server leave requests without an answer, or ends that.
func (s *gitServer) hold(on bool) error {
	var done bool
	return s.ask(gitQuestion{Hold: &on}, &done)
}

// A gitRole is the child's side.
type gitRole struct {
	dir  string
	git  *polsettest.Git
	used time.Duration // CPU, when it was last asked for
}

func (g *gitRole) close() error {
	if g.git == nil {
		return nil
	}
	return g.git.Close()
}

func (g *gitRole) answer(ctx context.Context, question json.RawMessage) (any, error) {
	var q gitQuestion
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, err
	}
	switch {
	case q.Start != "":
		if err := os.MkdirAll(q.Start, 0o750); err != nil {
			return nil, err
		}
		var err error
		g.dir = q.Start
		if g.git, err = polsettest.StartGit(q.Start); err != nil {
			return nil, err
		}
		return g.git.URL(), nil
	case q.Make != nil:
		return g.make(ctx, *q.Make)
	case q.Hold != nil:
		g.git.Intercept(nil)
		if *q.Hold {
			g.git.Intercept(polsettest.Hang())
		}
		return true, nil
	}
	requests, _, sent := g.git.Traffic()
	g.git.ResetRequests()
	used, err := familyTime()
	t := traffic{requests, sent, used - g.used}
	g.used = used
	return t, err
}
