package api_test

import (
	"context"
	"database/sql"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
	"github.com/polset/polset/ingest"
	"github.com/polset/polset/internal/polsettest"
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

var (
	worldKey = store.NewKey()
	noRows   = polsettest.SQLite(func(path string) error {
		s, err := openRows(context.Background(), path)
		if err != nil {
			return err
		}
		return s.Close()
	})
)

func openRows(ctx context.Context, path string) (*store.Store, error) {
	key, err := store.ParseKey(worldKey)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, store.Config{URL: path, Key: key})
}

func newWorld(t *testing.T, adjust ...func(*api.Config)) *world {
	t.Helper()
	w := &world{server: &server{fakeStore: newFakeStore(), t: t}}
	file := noRows(t)
	w.dir = filepath.Dir(file)
	var err error
	if w.store, err = openRows(t.Context(), file); err != nil {
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
		Organizations: w.store, Projects: w.store, Workspaces: w.store, Configurations: w.store, Runs: w.store, Checks: w.store, ToolVersions: w.store, Connections: w.store, PolicySets: w.store, Policies: w.store, Parameters: w.store, Related: w.store, Versions: w.store, Tokens: w.store, Audit: w.store,
		Installations: w.store, Apps: w.fakeStore, SetupLinks: w.store, Actions: w.store, Objects: w.bucket,
		Heads: w.fakeStore, Repositories: w.fakeStore,
		TokenRecords: w.store, OAuthClients: w.store, VersionsInForce: w.store, Bundles: &plainBundles{},
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
