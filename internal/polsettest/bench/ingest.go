package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/ingest/source"
	"github.com/polset/polset/policy"
	"github.com/polset/polset/store/object"
)

// ingestQuestion is asked of the child that ingests.
type ingestQuestion struct {
	GitHub   string     `json:"github"`
	Of       repository `json:"of"`
	Count    int        `json:"count"`
	Parallel int        `json:"parallel"` // at once
}

// An ingested is what all of them cost.
type ingested struct {
	Wall    time.Duration `json:"wall"`
	CPU     time.Duration `json:"cpu"`
	Compile time.Duration `json:"compile"` // CPU of one compilation, which the others leave out
	Served  time.Duration `json:"-"`       // CPU of the git server, which the parent knows
	Peak    peak          `json:"peak"`
}

const roleIngest = "ingest"

type ingestRole struct{}

func (ingestRole) close() error { return nil }

func (ingestRole) answer(ctx context.Context, question json.RawMessage) (any, error) {
	var q ingestQuestion
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, err
	}
	git, err := newSource(q.GitHub)
	if err != nil {
		return nil, err
	}
	defer git.Close()
	dir, err := os.MkdirTemp("", "objects-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // the parent removes what is left
	if _, err := ingestOnce(ctx, git, q.Of, filepath.Join(dir, "warm")); err != nil {
		return nil, fmt.Errorf("warm up: %w", err)
	}
	var got ingested
	got.Peak, err = measurePeak(func() error {
		cpu, err := cpuTime()
		if err != nil {
			return err
		}
		began := time.Now()
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(q.Parallel)
		for i := range q.Count {
			group.Go(func() error {
				_, err := ingestOnce(ctx, git, q.Of, filepath.Join(dir, fmt.Sprint(i)))
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		got.Wall = time.Since(began)
		used, err := cpuTime()
		got.CPU = used - cpu
		return err
	})
	if err != nil {
		return nil, err
	}
	got.Compile, err = compileTime(ctx, git, q.Of, dir)
	return got, err
}

// ingestOnce carries the branch head from git to the object storage, as a node
// does, except that it does not compile. Every ingest has a storage of its own:
// a second put of equal bytes would cost nothing.
func ingestOnce(ctx context.Context, git *source.Git, r repository, dir string) (files fs.FS, err error) {
	head, err := git.Head(ctx, remote(r), "main")
	if err != nil {
		return nil, err
	}
	snapshot, err := git.Open(ctx, remote(r), head.Commit, source.OnBranch("main"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = snapshot.Close() }() // it only ends what is still going on
	content, err := snapshot.Resolve(ctx, polset.Content{Path: policiesPath, Kind: polset.KindOPA})
	if err != nil {
		return nil, err
	}
	if files, err = snapshot.Fetch(ctx, content); err != nil {
		return nil, err
	}
	set, err := policy.Read(files, content.Path, content.Kind)
	if err != nil {
		return nil, err
	}
	if len(set.Policies) != policyFiles {
		return nil, fmt.Errorf("the set declares %d policies, expected %d", len(set.Policies), policyFiles)
	}
	bucket, err := object.Open(ctx, "file://"+dir, object.Config{})
	if err != nil {
		return nil, err
	}
	spool, err := os.CreateTemp("", "archive-*.tar.gz")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, spool.Close(), os.Remove(spool.Name())) }()
	sub, err := fs.Sub(files, content.Path)
	if err != nil {
		return nil, err
	}
	summary, err := archive.Write(ctx, spool, sub, archive.Limits{})
	if err != nil {
		return nil, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return files, bucket.Put(ctx, summary.Digest, summary.Size, spool)
}

// compileTime is the CPU time in which the repository's policies are compiled.
func compileTime(ctx context.Context, git *source.Git, r repository, dir string) (time.Duration, error) {
	files, err := ingestOnce(ctx, git, r, filepath.Join(dir, "compiled"))
	if err != nil {
		return 0, err
	}
	set, err := policy.Read(files, policiesPath, polset.KindOPA)
	if err != nil {
		return 0, err
	}
	var sample []time.Duration
	for range 10 {
		before, err := cpuTime()
		if err != nil {
			return 0, err
		}
		if err := set.Validate(ctx, files); err != nil {
			return 0, fmt.Errorf("compile: %w", err)
		}
		after, err := cpuTime()
		if err != nil {
			return 0, err
		}
		sample = append(sample, after-before)
	}
	return median(sample), nil
}
