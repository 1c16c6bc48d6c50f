package api_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
	"github.com/polset/polset/ingest"
	"github.com/polset/polset/store"
	"github.com/polset/polset/store/object"
)

// A world is the API over real HTTP on a real store (SQLite) and a real bucket
// (a directory), with the organizations acme and evilcorp. Only what GitHub
// says is made up, by the fake store that a server has.
type world struct {
	*server
	store  *store.Store
	bucket object.Bucket
	dir    string // of the rows and the objects

	acme, guest, evil string // the secrets of tokens; see the constants of these names
	acmeID, evilID    string // the organizations'

	rows   *sql.DB           // see everything
	tables map[string]string // what reads each of them
}

// firstRows is a database that holds nothing yet. To make its tables takes longer
// than most tests, so that it is done once.
var firstRows = sync.OnceValues(func() (first struct {
	key  store.Key
	file []byte
}, err error,
) {
	dir, err := os.MkdirTemp("", "polset-api-")
	if err != nil {
		return first, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if first.key, err = store.ParseKey(store.NewKey()); err != nil {
		return first, err
	}
	file := filepath.Join(dir, "polset.db")
	s, err := store.Open(context.Background(), store.Config{URL: file, Key: first.key})
	if err != nil {
		return first, err
	}
	if err := s.Close(); err != nil {
		return first, err
	}
	first.file, err = os.ReadFile(file)
	return first, err
})

func newWorld(t *testing.T, adjust ...func(*api.Config)) *world {
	t.Helper()
	w := &world{server: &server{fakeStore: newFakeStore(), t: t}}
	w.dir = t.TempDir()
	first, err := firstRows()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.dir, "polset.db")
	if err := os.WriteFile(file, first.file, 0o600); err != nil {
		t.Fatal(err)
	}
	if w.store, err = store.Open(t.Context(), store.Config{URL: file, Key: first.key}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.bucket, err = object.Open(t.Context(), "file://"+filepath.Join(w.dir, "objects"), object.Config{}); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	w.logs = logs
	e := echo.New()
	web := httptest.NewServer(e)
	t.Cleanup(web.Close)
	w.url = web.URL
	cfg := api.Config{
		Organizations: w.store, Projects: w.store, Workspaces: w.store, Configurations: w.store, Runs: w.store, ToolVersions: w.store, Connections: w.store, PolicySets: w.store, Policies: w.store, Parameters: w.store, Related: w.store, Versions: w.store, Tokens: w.store, Audit: w.store,
		Installations: w.store, Apps: w.fakeStore, SetupLinks: w.store, Actions: w.store, Objects: w.bucket,
		Heads: w.fakeStore, Repositories: w.fakeStore,
		TokenRecords: w.store, OAuthClients: w.store,
		PublicURL: web.URL, BootstrapToken: polset.NewSecret(admin), LinkKey: []byte(strings.Repeat("k", 32)),
		Logger: zap.New(core), Now: func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) },
	}
	cfg.Uploads, cfg.Uploader = w.store, w.uploader(w.dir)
	cfg.SpoolDir = filepath.Join(w.dir, "spool")
	for _, f := range adjust {
		f(&cfg)
	}
	if w.api, err = api.New(cfg); err != nil {
		t.Fatal(err)
	}
	w.api.Register(e)

	w.acmeID, w.evilID = w.organization("acme"), w.organization("evilcorp")
	w.acme, w.guest = w.token(w.acmeID, polset.Permissions()...), w.token(w.acmeID, polset.PermissionRead)
	w.evil = w.token(w.evilID, polset.Permissions()...)
	return w
}

// uploader is the one that a server has, with a spool directory below dir.
func (w *world) uploader(dir string) *ingest.Uploader {
	w.t.Helper()
	spool := filepath.Join(dir, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		w.t.Fatal(err)
	}
	worker, err := ingest.New(ingest.Config{
		Ledger: w.store, Versions: w.store, Branches: w.store, Endings: w.store, Source: struct{ ingest.Source }{}, Objects: w.bucket, SpoolDir: spool,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := ingest.NewUploader(ingest.UploaderConfig{Worker: worker, Uploads: w.store})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(u.Close)
	return u
}

// organization makes an organization and returns its id.
func (w *world) organization(name string) string {
	w.t.Helper()
	o, err := w.store.CreateOrganization(w.t.Context(), polset.System, polset.Organization{Name: name, Email: "ops@" + name + ".example"})
	if err != nil {
		w.t.Fatal(err)
	}
	return o.ID
}

// token makes a token of an organization and returns its secret.
func (w *world) token(organizationID string, permissions ...polset.Permission) string {
	w.t.Helper()
	_, secret, err := w.store.CreateToken(w.t.Context(), polset.System, polset.Token{OrganizationID: organizationID, Permissions: permissions})
	if err != nil {
		w.t.Fatal(err)
	}
	return secret.Reveal()
}
