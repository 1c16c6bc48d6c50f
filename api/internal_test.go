package api

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
)

// A link allows the one operation that it was signed for.
func TestLinkOperation(t *testing.T) {
	now := time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)
	a := &API{Config: Config{PublicURL: "https://polset.example", LinkKey: make([]byte, 32), Now: func() time.Time { return now }}}
	signed := a.objectURL(link{Operation: "put", Key: "k", Name: "n"})
	token := signed[strings.LastIndex(signed, "/")+1:]
	if l, ok := a.openLink(token, "put"); !ok || l.Key != "k" || l.Expires != now.Add(time.Hour).Unix() {
		t.Errorf("a link that was signed for this: %+v, %v", l, ok)
	}
	t.Run("case 77 a link for another operation", func(t *testing.T) {
		if _, ok := a.openLink(token, linkGet); ok {
			t.Error("an upload link downloads")
		}
	})
	t.Run("case 77 a signature for another purpose", func(t *testing.T) {
		payload, _, _ := strings.Cut(token, ".")
		b := *a
		b.LinkKey = append([]byte(nil), a.LinkKey...)
		b.LinkKey[0] = 1
		if _, ok := a.openLink(payload+"."+base64.RawURLEncoding.EncodeToString(b.linkMAC(payload)), "put"); ok {
			t.Error("a foreign signature passes")
		}
	})
}

// go-tfe overflows its stack on documents that include themselves.
func TestIncludedHoldsOthersOnce(t *testing.T) {
	primary := resource{ID: "1", Type: "policy-sets"}
	other := resource{ID: "1", Type: "policy-set-versions"}
	got := single(primary, other, primary, other).Included
	if diff := cmp.Diff([]resource{other}, got); diff != "" {
		t.Error(diff)
	}
}

// Whoever sends from ever new addresses must not fill the memory.
func TestAttemptsAreBounded(t *testing.T) {
	now := time.Unix(0, 0)
	tries := newAttempts(func() time.Time { return now })
	digest := func(i int) (d [32]byte) {
		d[0], d[1], d[2] = byte(i), byte(i>>8), byte(i>>16)
		return d
	}
	for i := range 3 * maxRemembered {
		from := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		tries.failed(from, digest(i))
		tries.succeeded(digest(i))
	}
	if len(tries.addresses) > maxRemembered || len(tries.known) > maxRemembered {
		t.Errorf("%d addresses and %d tokens are remembered", len(tries.addresses), len(tries.known))
	}
	now = now.Add(2 * knownFor)
	for i := range maxRemembered {
		tries.succeeded(digest(-1 - i))
	}
	if _, ok := tries.known[digest(-1)]; !ok || len(tries.known) > maxRemembered {
		t.Error("what is fresh made room for what is stale")
	}
}

func TestLimiterForgets(t *testing.T) {
	now := time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)
	l := NewLimiter(30, func() time.Time { return now })
	for n := range 3 * maxRemembered {
		l.Take(polset.Principal{Actor: fmt.Sprintf("at-%d", n)})
	}
	if len(l.buckets) > maxRemembered {
		t.Errorf("%d buckets are remembered", len(l.buckets))
	}
}

// TestStandIn shows what go-tfe's tests want to see of a repository that the
// GitHub App reads, wherever the operator's GitHub is.
func TestStandIn(t *testing.T) {
	vcs := &polset.VCS{Identifier: "acme/policies", InstallationID: "ghain-1", HTTPURL: "http://127.0.0.1:3000"}
	for conformance, want := range map[bool]string{false: "http://127.0.0.1:3000/acme/policies", true: "https://github.com/acme/policies"} {
		a := &API{Config: Config{GitHubURL: "http://127.0.0.1:3000", Conformance: conformance}}
		if got := a.vcsRepo(vcs, false).RepositoryHTTPURL; got != want {
			t.Errorf("with conformance %t: %s, want %s", conformance, got, want)
		}
	}
}

// A limit that the rows name is the asker's to meet, and no fault of polset's.
func TestExplainLimit(t *testing.T) {
	got := explain(t.Context(), "request-id", fmt.Errorf("create run: %w", polset.Fail(polset.ClassLimit, "There is more than may be.")))
	if len(got) != 1 || got[0].Status != http.StatusUnprocessableEntity || got[0].Detail != "There is more than may be." {
		t.Errorf("got %+v", got)
	}
}
