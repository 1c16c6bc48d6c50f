package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/polset/polset/internal/polsettest"
)

// startS3 starts versitygw over a directory. The bucket that it returns names
// the server and the credentials, and no bucket yet.
func startS3(ctx context.Context, dir string) (*process, polsettest.Bucket, error) {
	b := polsettest.Bucket{Region: "us-east-1", AccessKey: "polset-test", SecretKey: rand.Text()}
	program, err := versitygw()
	if err != nil {
		return nil, b, err
	}
	objects, metadata := filepath.Join(dir, "s3", "objects"), filepath.Join(dir, "s3", "metadata")
	for _, d := range []string{objects, metadata} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, b, fmt.Errorf("make a directory: %w", err)
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, b, err
	}
	b.Endpoint = "http://127.0.0.1:" + port
	const health = "/healthz"
	// A sidecar, because not every temporary directory has extended attributes.
	server := exec.Command(program, "--port", "127.0.0.1:"+port, "--region", b.Region,
		"--health", health, "--quiet", "posix", "--sidecar", metadata, objects)
	server.Dir = dir
	server.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+b.AccessKey, "ROOT_SECRET_ACCESS_KEY="+b.SecretKey)
	p, err := start(dir, server)
	if err != nil {
		return nil, b, err
	}
	return p, b, p.ready(ctx, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.Endpoint+health, http.NoBody)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("the health check answers %s", response.Status)
		}
		return nil
	})
}

// versitygw finds the program on PATH or where go install leaves it.
func versitygw() (string, error) {
	if program, err := exec.LookPath("versitygw"); err == nil {
		return program, nil
	}
	missing := errors.New("the S3 server versitygw is not installed; install it with: make test-deps")
	out, err := exec.Command("go", "env", "GOBIN", "GOPATH").Output()
	if err != nil {
		return "", fmt.Errorf("%w (asked go for its directories: %w)", missing, err)
	}
	gobin, gopath, _ := strings.Cut(strings.TrimRight(string(out), "\n"), "\n")
	if gobin == "" {
		first := filepath.SplitList(gopath)
		if len(first) == 0 {
			return "", missing
		}
		gobin = filepath.Join(first[0], "bin")
	}
	program := filepath.Join(gobin, "versitygw")
	if _, err := os.Stat(program); err != nil {
		return "", missing
	}
	return program, nil
}
