package polsettest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/open-policy-agent/opa/v1/version"
)

// OPA finds the opa program of the version that polset has as a library, where
// make test-deps leaves it or on PATH.
func OPA() (string, error) {
	name := "opa-v" + version.Version
	if program, err := exec.LookPath(name); err == nil {
		return program, nil
	}
	missing := fmt.Errorf("the program %s is not installed; install it with: make test-deps", name)
	out, err := exec.Command("go", "env", "GOPATH").Output()
	if err != nil {
		return "", errors.Join(missing, fmt.Errorf("ask go for its directories: %w", err))
	}
	first := filepath.SplitList(strings.TrimSpace(string(out)))
	if len(first) == 0 {
		return "", missing
	}
	program := filepath.Join(first[0], "bin", name)
	if _, err := os.Stat(program); err != nil {
		return "", missing
	}
	return program, nil
}
