package source

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

func TestGuard(t *testing.T) {
	for _, test := range []struct {
		name, addr string
		allow      string
		want       bool
	}{
		{"public", "140.82.121.3", "", true},
		{"public IPv6", "2606:50c0:8000::153", "", true},
		{"public, mapped", "::ffff:140.82.121.3", "", true},
		{"public behind NAT64", "64:ff9b::8c52:7903", "", true},
		{"case 37 loopback", "127.0.0.1", "", false},
		{"case 37 other loopback", "127.8.8.8", "", false},
		{"case 37 loopback IPv6", "::1", "", false},
		{"case 37 loopback, mapped", "::ffff:127.0.0.1", "", false},
		{"case 37 loopback, compatible", "::127.0.0.1", "", false},
		{"case 37 loopback behind NAT64", "64:ff9b::7f00:1", "", false},
		{"case 37 private behind local NAT64", "64:ff9b:1::a00:1", "", false},
		{"case 37 loopback by 6to4", "2002:7f00:1::1", "", false},
		{"case 37 Teredo", "2001::1", "", false},
		{"case 37 this network", "0.0.0.0", "", false},
		{"case 37 this network 0/8", "0.1.2.3", "", false},
		{"case 37 unspecified IPv6", "::", "", false},
		{"case 37 10/8", "10.1.2.3", "", false},
		{"case 37 172.16/12", "172.31.255.255", "", false},
		{"beside 172.16/12", "172.32.0.1", "", true},
		{"case 37 192.168/16", "192.168.1.1", "", false},
		{"case 37 shared 100.64/10", "100.127.0.1", "", false},
		{"case 37 metadata", "169.254.169.254", "", false},
		{"case 37 metadata, mapped", "::ffff:169.254.169.254", "", false},
		{"case 37 metadata IPv6", "fd00:ec2::254", "", false},
		{"case 37 link-local IPv6", "fe80::1", "", false},
		{"case 37 link-local IPv6 with zone", "fe80::1%eth0", "", false},
		{"case 37 ULA", "fc00::1", "", false},
		{"case 37 site-local", "fec0::1", "", false},
		{"case 37 multicast", "224.0.0.1", "", false},
		{"case 37 multicast IPv6", "ff02::1", "", false},
		{"case 37 benchmark", "198.19.0.1", "", false},
		{"case 37 reserved", "240.0.0.1", "", false},
		{"case 37 broadcast", "255.255.255.255", "", false},
		{"case 37 documentation", "2001:db8::1", "", false},
		{"allowed", "10.1.2.3", "10.0.0.0/8", true},
		{"allowed, mapped", "::ffff:10.1.2.3", "10.0.0.0/8", true},
		{"allowed behind NAT64", "64:ff9b::a01:203", "10.0.0.0/8", true},
		{"allowed IPv6", "fd00::1", "fd00::/8", true},
		{"another network is allowed", "10.1.2.3", "10.2.0.0/16", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := &guard{}
			if test.allow != "" {
				g.allow = []netip.Prefix{netip.MustParsePrefix(test.allow)}
			}
			if got := g.permits(netip.MustParseAddr(test.addr)); got != test.want {
				t.Errorf("permits %s: %v", test.addr, got)
			}
		})
	}
}

// The guard judges what a name resolves to, for the operator's host as well.
func TestGuardAtDialTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	reached := make(chan struct{}, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached <- struct{}{}
			_ = c.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:"+port)
	t.Setenv("http_proxy", "http://127.0.0.1:"+port)
	for _, host := range []string{"localhost", "127.0.0.1", "[::ffff:127.0.0.1]"} {
		t.Run("case 37 "+host+" leads to a private address", func(t *testing.T) {
			g, err := New(Config{GitHubURL: "http://" + host + ":" + port})
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.Head(t.Context(), polset.Remote{HTTPURL: "https://github.com", Identifier: "a/b"}, "")
			var f *polset.Failure
			if !errors.As(err, &f) || f.Class != polset.ClassURLForbidden || f.Retry ||
				!strings.Contains(f.Message, "POLSET_ALLOW_PRIVATE_NETWORKS") ||
				!strings.Contains(f.Message, strings.Trim(host, "[]")) || !strings.Contains(f.Message, "github.com/a/b") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("proxies of the environment are not used", func(t *testing.T) {
		g, err := New(Config{
			GitHubURL: "http://198.51.100.1", ConnectTimeout: 100 * time.Millisecond,
			AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, // the proxy, but not the host
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.Head(t.Context(), polset.Remote{HTTPURL: "https://github.com", Identifier: "a/b"}, "")
		if polset.FailureOf(err).Class != polset.ClassURLForbidden {
			t.Errorf("got %v", err)
		}
	})
	select {
	case <-reached:
		t.Error("the listener was reached")
	default:
	}
}

// Another client tells what the guard refused from what failed.
func TestDialContext(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	get := func(target string, allow ...netip.Prefix) error {
		client := http.Client{Transport: &http.Transport{DialContext: DialContext(allow, 0), DisableKeepAlives: true}}
		response, err := client.Get(target)
		if err == nil {
			err = response.Body.Close()
		}
		return err
	}
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"} {
		t.Run("case 37 "+host, func(t *testing.T) {
			err := get("http://" + host + ":" + port)
			var f *polset.Failure
			if !errors.As(err, &f) || f.Class != polset.ClassURLForbidden || f.Retry ||
				!strings.Contains(f.Message, strings.Trim(host, "[]")) || !strings.Contains(f.Message, "POLSET_ALLOW_PRIVATE_NETWORKS") {
				t.Fatalf("got %v", err)
			}
			if host == "localhost" && strings.Contains(f.Message, "127.0.0.1") {
				t.Error("the message tells what the name leads to")
			}
		})
	}
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	if err := get(server.URL, loopback); err != nil {
		t.Errorf("allowed: %v", err)
	}
	server.Close()
	var f *polset.Failure
	if err := get(server.URL, loopback); err == nil || errors.As(err, &f) {
		t.Errorf("nobody listens: %v", err)
	}
}
