package main_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// pack is a tar.gz of files.
func pack(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o600, ModTime: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Uploadable makes a policy set that follows nothing.
func (n *node) Uploadable(org, name string) string {
	n.t.Helper()
	return text(n.must(201, "POST", "/api/v2/organizations/"+org+"/policy-sets", resource("policy-sets", document{"name": name, "kind": "opa"})), "data", "id")
}

// Awaiting makes a version, and returns its id and the path of its link: the
// address is another after each start.
func (n *node) Awaiting(setID string) (id, path string) {
	n.t.Helper()
	d := n.must(201, "POST", "/api/v2/policy-sets/"+setID+"/versions", nil)
	path, ours := strings.CutPrefix(text(d, "data", "links", "upload"), n.URL)
	if !ours {
		n.t.Fatalf("the link is no URL of this server: %v", d)
	}
	return text(d, "data", "id"), path
}

// Put uploads, without a token.
func (n *node) Put(path string, body io.Reader) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, n.URL+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, errors.Join(err, res.Body.Close())
}

// Version returns a version.
func (n *node) Version(id string) any {
	n.t.Helper()
	return get(n.must(200, "GET", "/api/v2/policy-set-versions/"+id, nil), "data")
}

// noise makes files large enough that there is time to interrupt.
func noise(files map[string]string, n int) map[string]string {
	random := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = random.Read(b) // never fails
	files["noise"] = string(b)
	return files
}

// spooled is what lies in a spool directory.
func spooled(t *testing.T, dataDir string) int {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dataDir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestUploadKilledAnywhere(t *testing.T) {
	git, dir := polsettest.NewGit(t), t.TempDir()
	environ := env(git, dir, "POLSET_SWEEP_INTERVAL=1s")
	n := start(t, environ)
	restart := func() { n = start(t, environ) } // it outlives the part of the test that asks
	n.must(201, "POST", "/api/v2/organizations", resource("organizations", document{"name": "acme", "email": "a@example.com"}))
	set := n.Uploadable("acme", "uploads")
	files := noise(map[string]string{}, 4<<20)
	for name, data := range policies("p", 3, "x") {
		files[strings.TrimPrefix(name, "p/")] = data
	}
	body := pack(t, files)
	want := map[string]string{}
	for name, data := range files {
		want[name] = "100644 " + data
	}

	t.Run("case 79 killed while it receives", func(t *testing.T) {
		id, path := n.Awaiting(set)
		r, w := io.Pipe()
		answered := make(chan struct{})
		go func() {
			_, _ = n.Put(path, r) // it dies
			close(answered)
		}()
		if _, err := w.Write(body[:len(body)/2]); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, "spooling", func() bool { return spooled(t, dir) == 1 })
		n.Kill()
		_ = w.Close()
		<-answered
		restart()
		if spooled(t, dir) != 0 {
			t.Error("half an upload is left")
		}
		if s := text(n.Version(id), "attributes", "status"); s != "pending" {
			t.Errorf("the version is %s", s)
		}
		if code, err := n.Put(path, bytes.NewReader(body)); err != nil || code != http.StatusOK {
			t.Errorf("again: %d, %v", code, err)
		}
		if got := entries(t, n.Download(n.Version(id))); !maps.Equal(got, want) {
			t.Error("the archive holds something else")
		}
	})
	t.Run("case 99 kill -9 at any step", func(t *testing.T) {
		random, taken := rand.New(rand.NewPCG(1, 2)), map[int]int{}
		for range 10 {
			id, path := n.Awaiting(set)
			answered := make(chan struct{})
			go func() {
				_, _ = n.Put(path, bytes.NewReader(body)) // it may die
				close(answered)
			}()
			timer := time.NewTimer(time.Duration(random.IntN(250)) * time.Millisecond)
			<-timer.C
			n.Kill()
			<-answered
			restart()
			// The same link is good until the upload was taken.
			code, err := n.Put(path, bytes.NewReader(body))
			if err != nil || code != http.StatusOK && code != http.StatusConflict {
				t.Fatalf("again: %d, %v", code, err)
			}
			taken[code]++
			v := n.Version(id)
			if text(v, "attributes", "status") != "ready" || n.Current(set) != id {
				t.Fatalf("current is %s, the version %v", n.Current(set), v)
			}
			if got := entries(t, n.Download(v)); !maps.Equal(got, want) {
				t.Error("the archive holds something else")
			}
			if spooled(t, dir) != 0 {
				t.Error("something is left in the spool directory")
			}
		}
		t.Logf("answers to the second upload: %v", taken)
	})
	t.Run("a server that is stopped does not wait for a client for ever", func(t *testing.T) {
		id, path := n.Awaiting(set)
		r, w := io.Pipe()
		answered := make(chan struct{})
		go func() {
			_, _ = n.Put(path, r) // it is cut off
			close(answered)
		}()
		if _, err := w.Write(body[:len(body)/2]); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, "spooling", func() bool { return spooled(t, dir) == 1 })
		if code := n.Stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		_ = w.Close()
		<-answered
		restart()
		if s := text(n.Version(id), "attributes", "status"); s != "pending" {
			t.Errorf("the version is %s", s)
		}
	})
	n.Stop()
	if out, err := command(t, environ, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}
