package githubapp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/polset/polset"
)

func TestAppJWT(t *testing.T) {
	w := newWorld(t)
	i, err := w.client.apps.get(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	token, err := i.sign(w.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.RegisteredClaims
	parsed, err := jwt.ParseWithClaims(token.Reveal(), &claims, func(*jwt.Token) (any, error) { return &i.key.PublicKey, nil },
		jwt.WithTimeFunc(w.clock.now), jwt.WithValidMethods([]string{"RS256"}))
	if err != nil || !parsed.Valid {
		t.Fatal(err)
	}
	if claims.Issuer != fmt.Sprint(w.app.ID) {
		t.Errorf("issuer is %q, want %d", claims.Issuer, w.app.ID)
	}
	if got := claims.IssuedAt.Sub(w.clock.now()); got != -time.Minute {
		t.Errorf("issued %s from now, want a minute ago", got)
	}
	if got := claims.ExpiresAt.Sub(w.clock.now()); got > 9*time.Minute || got < time.Minute {
		t.Errorf("expires %s from now, want at most 9m", got)
	}
}

func TestHeaders(t *testing.T) {
	var got http.Header
	client := answering(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		say(w, `{"id":1,"full_name":"acme/policies"}`)
	})
	if _, err := client.Repository(t.Context(), polset.Remote{Identifier: "acme/policies", Token: polset.NewSecret("t0ken")}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Accept": "application/vnd.github+json", "X-Github-Api-Version": "2022-11-28",
		"User-Agent": "polset", "Authorization": "Bearer t0ken",
	}
	for name, value := range want {
		if got.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.Get(name), value)
		}
	}
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		class   polset.Class
		retry   bool
		part    string
	}{
		"500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, polset.ClassTimeout, true, "500"},
		"503": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, polset.ClassTimeout, true, "503"},
		"401": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, polset.ClassAuth, false, "credential"},
		"404": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, polset.ClassAuth, false, "does not tell"},
		"451": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnavailableForLegalReasons) }, polset.ClassAuth, false, "451"},
		"422": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnprocessableEntity)
			say(w, `{"message":"no"}`)
		}, polset.ClassInternal, false, "422"},
		"a web page": {func(w http.ResponseWriter, _ *http.Request) { say(w, "<!DOCTYPE html>") }, polset.ClassTimeout, true, "not GitHub"},
		"other JSON": {func(w http.ResponseWriter, _ *http.Request) { say(w, "{}") }, polset.ClassTimeout, true, "not GitHub"},
		"cut":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, polset.ClassTimeout, true, "connection failed"},
		"endless":    {func(w http.ResponseWriter, _ *http.Request) { endless(w) }, polset.ClassLimit, false, "4 MiB"},
		"endless 500": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			endless(w)
		}, polset.ClassTimeout, true, "500"},
	} {
		t.Run(name, func(t *testing.T) {
			client := answering(t, Config{}, test.handler)
			_, err := client.Repository(t.Context(), polset.Remote{Identifier: "a/b", Token: polset.NewSecret("s3cret")})
			failureWith(t, err, test.class, test.retry, test.part)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		client := newClient(t, Config{HTTPURL: "http://127.0.0.1:1", APIURL: "http://127.0.0.1:1"})
		_, err := client.Repository(t.Context(), polset.Remote{Identifier: "a/b"})
		failureWith(t, err, polset.ClassTimeout, true)
		if mayHaveTaken(err) {
			t.Error("a connection that was never made may have taken effect")
		}
	})
	t.Run("the guard refuses", func(t *testing.T) {
		client := newClient(t, Config{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, polset.Fail(polset.ClassURLForbidden, "polset does not dial 10.0.0.1.")
		}})
		_, err := client.Repository(t.Context(), polset.Remote{Identifier: "a/b"})
		failureWith(t, err, polset.ClassURLForbidden, false, "does not dial")
	})
	t.Run("the caller goes away", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client := answering(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		if _, err := client.Repository(ctx, polset.Remote{Identifier: "a/b"}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v is not the caller's own", err)
		}
	})
}

// TestCertificates shows that what renewal or a repaired proxy heals is tried
// again.
func TestCertificates(t *testing.T) {
	for name, test := range map[string]struct {
		certificate x509.Certificate
		trusted     bool
	}{
		"expired": {x509.Certificate{
			NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}, true},
		"of another host": {x509.Certificate{
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"other.example.com"},
		}, true},
		"of an unknown authority": {x509.Certificate{
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			c := test.certificate
			c.SerialNumber, c.IsCA, c.BasicConstraintsValid = big.NewInt(1), true, true
			der, err := x509.CreateCertificate(rand.Reader, &c, &c, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
			server.StartTLS()
			defer server.Close()
			roots := x509.NewCertPool()
			if test.trusted {
				roots = pool(server)
			}
			client := newClient(t, Config{HTTPURL: server.URL, RootCAs: roots})
			_, err = client.ask(t.Context(), polset.Remote{Identifier: "a/b", Token: polset.NewSecret("s3cret")}, toReport, question{
				operation: "test", doing: "test", method: http.MethodPost, mutates: true,
			})
			failureWith(t, err, polset.ClassURLForbidden, true, "does not trust the certificate of 127.0.0.1")
			if mayHaveTaken(err) {
				t.Error("a request that was never sent may have taken effect")
			}
		})
	}
}

func endless(w io.Writer) {
	for block := []byte(strings.Repeat(" ", 64<<10)); ; {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

func TestRedirects(t *testing.T) {
	t.Run("of a renamed repository, for reading and writing", func(t *testing.T) {
		w := newWorld(t)
		commit := w.repo.Commit("main", map[string]string{"a": "b"})
		old := w.remote()
		w.repo.Rename("rules")
		facts, err := w.client.Repository(t.Context(), old)
		if err != nil {
			t.Fatal(err)
		}
		want := polset.RepositoryFacts{
			RepositoryRef: polset.RepositoryRef{ID: w.repo.ID(), Identifier: "acme/rules"}, DefaultBranch: "main", Private: true,
		}
		if diff := cmp.Diff(want, facts); diff != "" {
			t.Errorf("facts (-want +got):\n%s", diff)
		}
		reports := &reportRows{rows: []polset.Report{{ID: "rep-1", PolicySet: "p", Remote: old, Commit: commit, Status: polset.ReportRunning}}}
		newReporter(w, reports).step(t)
		if n := len(w.repo.CheckRuns(commit)); n != 1 {
			t.Errorf("%d check runs, want 1: %+v", n, reports.outcomes)
		}
	})
	for name, test := range map[string]struct {
		location func(self, other string) string
		part     string
	}{
		"to another host":   {func(_, other string) string { return other + "/repos/a/b" }, "another address"},
		"to another scheme": {func(self, _ string) string { return "https" + strings.TrimPrefix(self, "http") + "/x" }, "another address"},
		"with credentials":  {func(self, _ string) string { return strings.Replace(self, "://", "://user:word@", 1) }, "another address"},
		"to itself":         {func(self, _ string) string { return self + "/repos/a/b" }, "more than 3 times"},
	} {
		t.Run(name, func(t *testing.T) {
			var leaked atomic.Bool
			var asked atomic.Int64
			other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Store(true) }))
			defer other.Close()
			client := answering(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.Header().Set("Location", test.location("http://"+r.Host, other.URL))
				w.WriteHeader(http.StatusMovedPermanently)
			})
			_, err := client.Repository(t.Context(), polset.Remote{Identifier: "a/b", Token: polset.NewSecret("s3cret")})
			failureWith(t, err, polset.ClassURLForbidden, false, test.part)
			noneOf(t, err.Error(), "s3cret", "user:word")
			if leaked.Load() {
				t.Error("the other host was asked")
			}
			if asked.Load() > maxRedirects+1 {
				t.Errorf("%d requests were made", asked.Load())
			}
		})
	}
}

func TestMessagesHoldNoSecrets(t *testing.T) {
	client := answering(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		say(w, fmt.Sprintf(`{"message":"you sent %s","errors":[{"message":"and %s"},"indeed"]}`, r.Header.Get("Authorization"), "s3cret"))
	})
	_, err := client.Repository(t.Context(), polset.Remote{Identifier: "a/b", Token: polset.NewSecret("s3cret")})
	failureWith(t, err, polset.ClassAuth, false, "[redacted]", "indeed")
	noneOf(t, err.Error()+polset.FailureOf(err).Message, "s3cret")
}

func TestRequestMetric(t *testing.T) {
	registry := prometheus.NewRegistry()
	status := 200
	client := answering(t, Config{Registerer: registry}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		say(w, `{"id":1,"full_name":"a/b"}`)
	})
	for _, status = range []int{200, 200, 404, 429} {
		_, _ = client.Repository(t.Context(), polset.Remote{Identifier: "a/b"}) // the metric tells
	}
	_, _ = client.Repository(t.Context(), polset.Remote{Identifier: "a/b"}) // held
	for code, want := range map[string]float64{"200": 2, "404": 1, "429": 1, "held": 1} {
		if got := testutil.ToFloat64(client.requests.WithLabelValues("read-repository", code)); got != want {
			t.Errorf("%v requests with code %s, want %v", got, code, want)
		}
	}
}
