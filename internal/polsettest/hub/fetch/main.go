// Fetch downloads GitHub's description of its REST API and octokit's example
// payloads from the npm registry, checks them, and unpacks what the tests of
// polset read into a directory. It does nothing where they lie there already.
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// A file of an npm package.
type file struct {
	name      string // in the directory
	path      string // in the package
	tarball   string // below the registry
	integrity string // of the tarball, as npm states it
}

var files = []file{
	{
		"api.github.com.json", "package/generated/api.github.com.json",
		"@octokit/openapi/-/openapi-23.0.2.tgz",
		"sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==",
	},
	{
		"webhooks.json", "package/api.github.com/index.json",
		"@octokit/webhooks-examples/-/webhooks-examples-7.6.1.tgz",
		"sha512-De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ==",
	},
}

// largest is more than any of the tarballs and files has.
const largest = 128 << 20

func main() {
	directory := flag.String("into", filepath.Join("testdata", "github"), "the `directory` for the files")
	registry := flag.String("registry", cmp.Or(os.Getenv("npm_config_registry"), os.Getenv("NPM_CONFIG_REGISTRY"), "https://registry.npmjs.org/"), "the npm registry's `URL`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, files, *directory, *registry)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, files []file, directory, registry string) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		if err := f.fetch(ctx, directory, registry); err != nil {
			return fmt.Errorf("%s: %w", f.tarball, err)
		}
	}
	return nil
}

// fetch leaves a stamp with the tarball's integrity beside the file, so that
// another version is fetched anew.
func (f file) fetch(ctx context.Context, directory, registry string) error {
	target := filepath.Join(directory, f.name)
	stamp := target + ".integrity"
	_, missing := os.Stat(target)
	if have, err := os.ReadFile(stamp); err == nil && missing == nil && string(have) == f.integrity {
		return nil
	}
	if err := os.RemoveAll(stamp); err != nil {
		return err
	}
	tarball, err := download(ctx, strings.TrimSuffix(registry, "/")+"/"+f.tarball)
	if err != nil {
		return err
	}
	sum := sha512.Sum512(tarball)
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); got != f.integrity {
		return fmt.Errorf("the download's integrity is %s, not %s", got, f.integrity)
	}
	content, err := unpack(tarball, f.path)
	if err != nil {
		return err
	}
	// The stamp comes last: what it stands beside is complete.
	if err := os.WriteFile(target, content, 0o644); err != nil {
		return err
	}
	return os.WriteFile(stamp, []byte(f.integrity), 0o644)
}

// download tries three times: registries are not always well.
func download(ctx context.Context, url string) ([]byte, error) {
	var errs error
	for range 3 {
		content, err := get(ctx, url)
		if err == nil {
			return content, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

func get(ctx context.Context, url string) (content []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the registry answers %s", response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, largest))
}

// unpack returns one file of a tarball.
func unpack(tarball []byte, path string) ([]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		return nil, err
	}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", path, err)
		}
		if header.Name == path {
			return io.ReadAll(io.LimitReader(archive, largest))
		}
	}
}
