package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/polset/polset/internal/polsettest"
)

// A checkout is a developer's clone.
type checkout struct {
	dir string
	env []string
}

// clone clones a private repository and its submodules, as a developer with a
// token does.
func clone(ctx context.Context, url, token, dir string) (*checkout, error) {
	credential := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
	c := &checkout{dir: dir, env: append(polsettest.GitEnv(), // the token in no argument and no file
		"GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=http.extraHeader",
		"GIT_CONFIG_VALUE_0=Authorization: Basic "+credential)}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return nil, fmt.Errorf("clone: %w", err)
	}
	_, err := c.git(ctx, "clone", "--quiet", "--recurse-submodules", url, ".")
	return c, err
}

// git runs git in the checkout and returns what it printed.
func (c *checkout) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...) // #nosec G204 -- the demo's own arguments
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimRight(string(out), "\n"), nil
}

// commit writes files and commits them.
func (c *checkout) commit(ctx context.Context, message string, files map[string]string) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(c.dir, filepath.FromSlash(name)), []byte(content), 0o600); err != nil {
			return fmt.Errorf("edit %s: %w", name, err)
		}
	}
	if _, err := c.git(ctx, "add", "--all"); err != nil {
		return err
	}
	_, err := c.git(ctx, "commit", "--quiet", "--message", message)
	return err
}

// push pushes main and returns its commit.
func (c *checkout) push(ctx context.Context) (string, error) {
	if _, err := c.git(ctx, "push", "--quiet", "origin", "main"); err != nil {
		return "", err
	}
	return c.git(ctx, "rev-parse", "HEAD")
}
