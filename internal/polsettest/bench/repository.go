package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/polset/polset/internal/polsettest"
)

// factsFile lies in a repository's directory once the repository is complete.
const factsFile = "bench.json"

// make makes the repository of a recipe, or takes up that of an earlier run.
func (g *gitRole) make(ctx context.Context, r recipe) (repository, error) {
	facts := repository{recipe: r, Identifier: "bench/" + strings.ToLower(r.Name)}
	dir := filepath.Join(g.dir, facts.Identifier+".git")
	kept, err := readFacts(dir, &facts)
	if err != nil {
		return facts, err
	}
	// Git writes the configuration again, or begins anew.
	stale := dir
	if kept {
		stale = filepath.Join(dir, "config")
	}
	if err := os.RemoveAll(stale); err != nil {
		return facts, fmt.Errorf("clear the repository: %w", err)
	}
	// Nobody looks for deltas between large binaries.
	repo := g.git.Create(facts.Identifier, polsettest.Config("core.bigFileThreshold", "1m"))
	facts.URL, facts.ID = repo.URL(), repo.ID
	if kept {
		return facts, nil
	}
	files, streams := r.content()
	facts.Commit = repo.Commit("main", files, streams...)
	if r.Commits > 0 {
		if facts.History, err = history(ctx, repo, facts.Commit, r.Commits); err != nil {
			return facts, err
		}
		facts.Commit = repo.Head("main")
	}
	facts.Next = repo.Commit("next", map[string]string{policiesPath + "/next.txt": "next\n"}, polsettest.From(facts.Commit))
	repo.Git("repack", "-adq") // a server has packs
	return facts, complete(repo, dir, &facts)
}

func readFacts(dir string, facts *repository) (bool, error) {
	text, err := os.ReadFile(filepath.Join(dir, factsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take up the repository: %w", err)
	}
	return json.Unmarshal(text, facts) == nil, nil // half a file: make it again
}

// complete finds out what there is to know of a finished repository, and
// writes it down.
func complete(repo *polsettest.Repo, dir string, facts *repository) error {
	facts.Tree = repo.TreeID(facts.Commit, policiesPath)
	wanted := []string{facts.Commit}
	for at := path.Dir(policiesPath); ; at = path.Dir(at) {
		if at == "." {
			wanted = append(wanted, repo.TreeID(facts.Commit, ""))
			break
		}
		wanted = append(wanted, repo.TreeID(facts.Commit, at))
	}
	wanted = append(wanted, repo.Objects(facts.Tree)...)
	facts.Objects, facts.Wanted = len(wanted), int64(len(repo.Pack(wanted...)))

	packs, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
	if err != nil {
		return fmt.Errorf("look for packs: %w", err)
	}
	facts.Packed = 0
	for _, pack := range packs {
		info, err := os.Stat(pack)
		if err != nil {
			return fmt.Errorf("look for packs: %w", err)
		}
		facts.Packed += info.Size()
	}
	text, err := json.MarshalIndent(facts, "", "\t")
	if err != nil {
		return fmt.Errorf("write down the repository: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, factsFile), text, 0o600)
}

// history adds commits to main that each change one policy a little, and
// returns them from the oldest. One process for all of them takes a second
// where one for each would take a minute.
func history(ctx context.Context, repo *polsettest.Repo, parent string, commits int) ([]string, error) {
	var in bytes.Buffer
	for i := range commits {
		text := policyText(i, "changing", guarded[0][0], guarded[0][1])
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter %s <%s> %d +0000\ndata <<.\nChange %d\n.\n",
			polsettest.AuthorName, polsettest.AuthorEmail, 1_767_400_000+i, i)
		if i == 0 {
			fmt.Fprintf(&in, "from %s\n", parent)
		}
		fmt.Fprintf(&in, "M 100644 inline %s/changing.rego\ndata %d\n%s\n", policiesPath, len(text), text)
	}
	cmd := exec.CommandContext(ctx, "git", "fast-import", "--quiet")
	cmd.Dir, cmd.Env, cmd.Stdin = repo.Dir(), polsettest.GitEnv(), &in
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("git fast-import: %w: %s", err, out)
	}
	return strings.Fields(repo.Git("rev-list", "--reverse", parent+"..main")), nil
}
