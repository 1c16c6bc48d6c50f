package main_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestCheckTokens makes sure that a token goes to no server but its own, where
// one environment names two.
func TestCheckTokens(t *testing.T) {
	const (
		polsets = checkToken
		others  = "secretOfAnotherServer"
	)
	for _, c := range []struct {
		name string
		env  []string // POLSET and TFE stand for the servers' addresses
		args []string
		want map[string]string // which token each server is shown
		says string
	}{
		{"polset's", []string{"POLSET_ADDRESS=POLSET", "POLSET_TOKEN=" + polsets}, nil, map[string]string{"POLSET": polsets}, ""},
		{"another client's", []string{"TFE_ADDRESS=TFE", "TFE_TOKEN=" + others}, nil, map[string]string{"TFE": others}, ""},
		{
			"both",
			[]string{"POLSET_ADDRESS=POLSET", "POLSET_TOKEN=" + polsets, "TFE_ADDRESS=TFE", "TFE_TOKEN=" + others},
			nil,
			map[string]string{"POLSET": polsets},
			"",
		},
		{"the other's token alone", []string{"POLSET_ADDRESS=POLSET", "TFE_ADDRESS=TFE", "TFE_TOKEN=" + others}, nil, nil, "a token in POLSET_TOKEN"},
		{"a token of HCP Terraform, which needs no address", []string{"POLSET_ADDRESS=POLSET", "TFE_TOKEN=" + others}, nil, nil, "a token in POLSET_TOKEN"},
		{"polset's token alone", []string{"POLSET_TOKEN=" + polsets, "TFE_ADDRESS=TFE"}, nil, nil, "POLSET_TOKEN does not go to the server in TFE_ADDRESS"},
		{
			"polset's token and the other's server",
			[]string{"POLSET_TOKEN=" + polsets, "TFE_ADDRESS=TFE", "TFE_TOKEN=" + others},
			nil,
			map[string]string{"TFE": others},
			"",
		},
		{"one server for both", []string{"POLSET_ADDRESS=TFE/", "TFE_ADDRESS=TFE/api/v2", "TFE_TOKEN=" + others}, nil, map[string]string{"TFE": others}, ""},
		{"the command line's server", []string{"TFE_ADDRESS=TFE", "TFE_TOKEN=" + others}, []string{"--address", "POLSET"}, nil, "a token in POLSET_TOKEN"},
		{
			"the command line's server with polset's token",
			[]string{"POLSET_TOKEN=" + polsets, "TFE_ADDRESS=TFE", "TFE_TOKEN=" + others},
			[]string{"--address", "POLSET"},
			map[string]string{"POLSET": polsets},
			"",
		},
		{"the command line's token", []string{"TFE_ADDRESS=TFE", "TFE_TOKEN=x"}, []string{"--token", others}, map[string]string{"TFE": others}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			shown := map[string]string{}
			var names []string
			for _, server := range []string{"POLSET", "TFE"} {
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					defer mu.Unlock()
					shown[server] = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
					w.WriteHeader(http.StatusNotFound)
				}))
				defer s.Close()
				names = append(names, "="+server, "="+s.URL)
			}
			addresses := strings.NewReplacer(names...)
			dir := lay(t, "-- plan.json --\n"+`{"planned_values":{}}`)
			args := []string{"--workspace", checkWS, "--plan", "plan.json"}
			for i := 0; i < len(c.args); i += 2 {
				args = append(args, addresses.Replace(c.args[i]+"="+c.args[i+1]))
			}
			var env []string
			for _, e := range c.env {
				env = append(env, addresses.Replace(e))
			}
			got := check(t, checking{dir: dir, env: env, args: args})
			if got.code != 2 || !strings.Contains(got.stderr, c.says) {
				t.Errorf("exit code %d, want 2 and an error with %q:\n%s%s", got.code, c.says, got.stdout, got.stderr)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, server := range []string{"POLSET", "TFE"} {
				if shown[server] != c.want[server] {
					t.Errorf("%s was shown %q, want %q", server, shown[server], c.want[server])
				}
			}
			if strings.Contains(got.stdout+got.stderr, others) {
				t.Error("a token was printed")
			}
		})
	}
}

// TestCheckUploadStaysSecret makes sure that a plan, which holds secrets, leaves
// in plain text only where the user asked for that.
func TestCheckUploadStaysSecret(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s came in plain text", r.Method, r.URL)
	}))
	defer plain.Close()
	s := newCheckServer(t)
	server := httptest.NewUnstartedServer(s)
	server.StartTLS()
	defer server.Close()
	s.Fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if !strings.HasSuffix(r.URL.Path, "/configuration-versions") {
			return false
		}
		_, _ = w.Write([]byte(`{"data":{"id":"cv-1","type":"configuration-versions","attributes":{"status":"pending","upload-url":"` + plain.URL + `/upload"}}}`))
		return true
	}
	dir := lay(t, "-- plan.json --\n"+`{"planned_values":{}}`+"\n-- ca.pem --\n"+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	got := check(t, checking{
		dir: dir, env: []string{"POLSET_ADDRESS=" + server.URL, "POLSET_TOKEN=" + checkToken, "SSL_CERT_FILE=ca.pem"},
		args: []string{"--workspace", checkWS, "--plan", "plan.json"},
	})
	if got.code != 2 || !strings.Contains(got.stderr, "over https") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}
