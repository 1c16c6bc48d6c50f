package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// A cost is what a way of getting at the policies without polset took: the
// programs', with all their children.
type cost struct {
	Wall, CPU time.Duration
	Memory    int64 // resident in the largest program
	Disk      int64 // bytes of all files that it left
	traffic
}

// A way is a shell command that turns the repository $URL into archive.tar.gz
// in the present directory.
type way struct{ name, script string }

var (
	cloneAndTar = way{
		"git clone --depth 1, tar",
		`git clone --quiet --depth 1 "$URL" clone && tar czf archive.tar.gz -C clone/` + policiesPath + ` .`,
	}
	// Only the tree itself lets git ask for the blobs below it at once: with
	// HEAD and a path it asks for those of the whole commit.
	partialAndArchive = way{
		"git clone --filter=blob:none, git archive",
		`git clone --quiet --filter=blob:none --depth 1 --no-checkout "$URL" clone &&
			git -C clone archive HEAD:` + policiesPath + ` | gzip >archive.tar.gz && test -s archive.tar.gz`,
	}
)

// take runs the way in a directory of its own, which the caller removes.
func (w way) take(ctx context.Context, url, dir string) (cost, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cost{}, fmt.Errorf("make a directory: %w", err)
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", w.script)
	cmd.Dir, cmd.Env = dir, append(polsettest.GitEnv(), "URL="+url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // git and tar end with their shell
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%s: %w: %s", w.name, err, said.Bytes())
	}
	c := cost{Wall: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.Memory = usage.Maxrss << 10 // Linux counts in KiB
	}
	return c, nil
}

// costOf takes a way a few times and returns the run that took the least CPU,
// with its traffic: the best that git can do.
func (b *bench) costOf(ctx context.Context, w way, of repository, runs int) (best cost, err error) {
	defer b.progress("%s of %s", w.name, of.Name)()
	dir := filepath.Join(b.temp, "way")
	for run := range runs {
		if _, err := b.git.traffic(); err != nil {
			return best, err
		}
		c, err := w.take(ctx, of.URL, dir)
		if err != nil {
			return best, errors.Join(err, os.RemoveAll(dir))
		}
		if c.traffic, err = b.git.traffic(); err != nil {
			return best, err
		}
		if c.Disk, err = size(dir); err != nil {
			return best, err
		}
		if err := os.RemoveAll(dir); err != nil {
			return best, fmt.Errorf("remove a clone: %w", err)
		}
		if run == 0 || c.CPU < best.CPU {
			best = c
		}
	}
	return best, nil
}

// size adds up the files below a directory.
func size(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("add up a clone's files: %w", err)
	}
	return total, nil
}
