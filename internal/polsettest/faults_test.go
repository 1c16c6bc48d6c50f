package polsettest_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

const lsRefs = "0014command=ls-refs\n0000"

// post asks for the refs in protocol 2.
func post(ctx context.Context, t *testing.T, r *polsettest.Repo, body []byte, headers ...string) (*http.Response, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL()+"/git-upload-pack", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	request.Header.Set("Git-Protocol", "version=2")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return http.DefaultTransport.RoundTrip(request)
}

func newRepo(t *testing.T) (*polsettest.Git, *polsettest.Repo) {
	t.Helper()
	g := polsettest.NewGit(t)
	r := g.Create("acme/policies")
	r.Commit("main", map[string]string{"a.rego": strings.Repeat("package a\n", 100), "b.rego": "package b\n"})
	return g, r
}

func TestGzippedRequest(t *testing.T) {
	g, r := newRepo(t)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(z, lsRefs); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	matched := false
	g.Intercept(func(_ http.ResponseWriter, request *http.Request, _ http.Handler) bool {
		matched = polsettest.IsLsRefs(request) && !polsettest.IsFetch(request)
		return false
	})
	response, err := post(t.Context(), t, r, zipped.Bytes(), "Content-Encoding", "gzip")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	refs, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(refs), r.Head("main")) || !matched {
		t.Errorf("refs are %q, %v; recognized: %v", refs, err, matched)
	}
}

func TestAnswersThatStop(t *testing.T) {
	g, r := newRepo(t)
	for _, test := range []struct {
		name  string
		fault polsettest.Fault
		read  int
		err   error
	}{
		{"hang", polsettest.HangAfter(10), 10, context.Canceled},
		{"cut", polsettest.CutAfter(10), 10, io.ErrUnexpectedEOF},
		{"end", polsettest.EndAfter(10), 10, nil},
		{"dribble", polsettest.Dribble(1), 1, context.Canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			g.Intercept(test.fault)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			response, err := post(ctx, t, r, []byte(lsRefs))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if _, err := io.ReadFull(response.Body, make([]byte, test.read)); err != nil {
				t.Fatal(err)
			}
			if errors.Is(test.err, context.Canceled) {
				time.AfterFunc(100*time.Millisecond, cancel)
			}
			rest, err := io.ReadAll(response.Body)
			if !errors.Is(err, test.err) || len(rest) > 0 {
				t.Errorf("after %d bytes came %q, %v; want %v", test.read, rest, err, test.err)
			}
		})
	}
}

// Close ends requests that would never end.
func TestCloseEndsHangs(t *testing.T) {
	g, err := polsettest.StartGit(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := g.Create("acme/policies")
	arrived := make(chan *http.Request)
	g.Intercept(func(_ http.ResponseWriter, request *http.Request, _ http.Handler) bool {
		arrived <- request
		<-request.Context().Done() // with its body unread, so that the client's end is not seen
		panic(http.ErrAbortHandler)
	})
	ended := make(chan error)
	go func() {
		response, err := post(context.Background(), t, r, []byte(lsRefs))
		if err == nil {
			_ = response.Body.Close()
		}
		ended <- err
	}()
	<-arrived
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the hanging request was answered")
	}
}

func TestStatuses(t *testing.T) {
	g, r := newRepo(t)
	reset := time.Unix(1767323045, 0)
	other, _ := newRepo(t)
	for _, test := range []struct {
		name   string
		fault  polsettest.Fault
		status int
		header string
		value  string
	}{
		{"429", polsettest.TooManyRequests(7 * time.Second), 429, "Retry-After", "7"},
		{"primary limit", polsettest.RateLimited(reset), 403, "X-RateLimit-Reset", "1767323045"},
		{"secondary limit", polsettest.SecondaryRateLimited(time.Minute), 403, "Retry-After", "60"},
		{"502", polsettest.Status(502, "Bad gateway", "X-Custom", "yes"), 502, "X-Custom", "yes"},
		{"redirect", polsettest.Redirect(307, other.URL()), 307, "Location", other.URL() + "/acme/policies.git/git-upload-pack"},
		{"not this one", polsettest.When(polsettest.IsAdvertisement, polsettest.Status(500, "")), 200, "", ""},
		{"not yet", polsettest.After(1, polsettest.Status(500, "")), 200, "", ""},
		{"no longer", polsettest.Times(0, polsettest.Status(500, "")), 200, "", ""},
		{"of another repository", polsettest.When(polsettest.IsRepository("acme/other"), polsettest.Status(500, "")), 200, "", ""},
		{"of this repository", polsettest.When(polsettest.IsRepository("Acme/Policies"), polsettest.Status(500, "")), 500, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			g.Intercept(test.fault)
			response, err := post(t.Context(), t, r, []byte(lsRefs))
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != test.status || response.Header.Get(test.header) != test.value {
				t.Errorf("%s, %s: %q", response.Status, test.header, response.Header.Get(test.header))
			}
		})
	}
}

func TestEndlessAnswers(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault polsettest.Fault
		body  string
	}{
		{"error body", polsettest.Endless(500), lsRefs},
		{"refs", polsettest.When(polsettest.IsLsRefs, polsettest.EndlessRefs()), lsRefs},
		{"sideband", polsettest.When(polsettest.IsFetch, polsettest.EndlessSideband()), "0012command=fetch\n0000"},
		{"pack", polsettest.When(polsettest.IsFetch, polsettest.EndlessPack()), "0012command=fetch\n0000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, r := newRepo(t)
			g.Intercept(test.fault)
			response, err := post(t.Context(), t, r, []byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			const enough = 16 << 20
			start := make([]byte, enough)
			if _, err := io.ReadFull(response.Body, start); err != nil {
				t.Fatal(err)
			}
			if test.name == "error body" {
				return
			}
			var pack bytes.Buffer
			for rest := start; len(rest) > 65536; {
				n, err := strconv.ParseUint(string(rest[:4]), 16, 16)
				if err != nil || n < 5 || n > 65520 {
					t.Fatalf("a pkt-line begins with %q", rest[:4])
				}
				if rest[4] == 1 {
					pack.Write(rest[5:n])
				}
				rest = rest[n:]
			}
			if test.name != "pack" {
				return
			}
			if head := string(pack.Next(12)); head != "PACK\x00\x00\x00\x02\xff\xff\xff\xff" {
				t.Errorf("the pack begins with %q", head)
			}
			pack.Next(5) // a blob of 2 GiB
			zeros, err := zlib.NewReader(&pack)
			if err != nil {
				t.Fatal(err)
			}
			blob := make([]byte, 8<<20)
			if _, err := io.ReadFull(zeros, blob); err != nil || bytes.Count(blob, []byte{0}) != len(blob) {
				t.Errorf("the blob cannot be inflated: %v", err)
			}
		})
	}
}

// The real client notices what the pack faults do, and only that.
func TestPackFaults(t *testing.T) {
	g, r := newRepo(t)
	head := r.Head("main")
	all := r.Objects(head)
	for _, test := range []struct {
		name  string
		fault polsettest.Fault
		want  string // in git's complaint; "" for none
	}{
		{"none", nil, ""},
		{"a byte in the middle", polsettest.FlipPackByte(60), "pack"},
		{"a byte of the checksum", polsettest.FlipPackByte(-1), "pack is corrupted"},
		{"the right pack", polsettest.ServePack(r.Pack(all...)), ""},
		{"a pack without one blob", polsettest.ServePack(r.Pack(all[:len(all)-1]...)), "did not receive expected object"},
	} {
		for _, version := range []string{"0", "2"} {
			t.Run(test.name+" in version "+version, func(t *testing.T) {
				if test.fault == nil {
					g.Intercept(nil)
				} else {
					g.Intercept(polsettest.When(polsettest.IsFetch, test.fault))
				}
				args := []string{"-c", "protocol.version=" + version, "-c", "fetch.fsckObjects=true"}
				out, ok := git(t, t.TempDir(), append(args, "clone", "--quiet", "--bare", r.URL(), "got")...)
				if ok != (test.want == "") || !strings.Contains(out, test.want) {
					t.Errorf("clone succeeded: %v; it said %q", ok, out)
				}
			})
		}
	}
}
