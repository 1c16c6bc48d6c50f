package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tarball(t *testing.T, name, content string) []byte {
	t.Helper()
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipped)
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func TestFetch(t *testing.T) {
	packed := tarball(t, "package/a.json", "{}")
	requests, failing := 0, 0
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		if failing > 0 {
			failing--
			http.Error(w, "busy", http.StatusBadGateway)
			return
		}
		_, _ = w.Write(packed)
	}))
	defer registry.Close()
	sum := sha512.Sum512(packed)
	f := file{"a.json", "package/a.json", "a/-/a-1.tgz", "sha512-" + base64.StdEncoding.EncodeToString(sum[:])}
	dir := filepath.Join(t.TempDir(), "github")
	fetch := func(f file, want int, problem string) {
		t.Helper()
		requests = 0
		err := run(t.Context(), []file{f}, dir, registry.URL)
		switch {
		case problem == "" && err != nil, problem != "" && (err == nil || !strings.Contains(err.Error(), problem)):
			t.Errorf("fetch: %v", err)
		case requests != want:
			t.Errorf("%d requests, not %d", requests, want)
		}
	}
	failing = 2
	fetch(f, 3, "")
	if content, err := os.ReadFile(filepath.Join(dir, "a.json")); err != nil || string(content) != "{}" {
		t.Errorf("the file is %q, %v", content, err)
	}
	fetch(f, 0, "") // it is there
	if err := os.Remove(filepath.Join(dir, "a.json")); err != nil {
		t.Fatal(err)
	}
	fetch(f, 1, "")
	other := f
	other.integrity = "sha512-AAAA"
	fetch(other, 1, "the download's integrity is")
	fetch(f, 1, "") // a failure leaves no stamp
	elsewhere := f
	elsewhere.path = "package/b.json"
	if err := os.Remove(filepath.Join(dir, "a.json")); err != nil {
		t.Fatal(err)
	}
	fetch(elsewhere, 1, "find package/b.json")
	failing = 3
	fetch(f, 3, "502")
}
