package store

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

// openEnv names the database that the test binary, run as a process of its
// own, opens and closes.
const openEnv = "POLSET_STORE_TEST_OPEN"

func TestMain(m *testing.M) {
	spec := os.Getenv(openEnv)
	if spec == "" {
		// Each check of the model is a life of its own in the database; the
		// command line may ask for more of them.
		if err := flag.Set("rapid.checks", "6"); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	}
	url, key, _ := strings.Cut(spec, "|")
	k, err := ParseKey(key)
	if err == nil {
		var s *Store
		if s, err = Open(context.Background(), Config{URL: url, Key: k}); err == nil {
			err = s.Close()
		}
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n") //nolint:errcheck // nowhere to say it
		os.Exit(1)
	}
}

func TestManyProcessesMigrateAtOnce(t *testing.T) {
	for name, url := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			spec := openEnv + "=" + url(t) + "|" + NewKey()
			outputs, errs := make([][]byte, 4), make([]error, 4)
			var wait sync.WaitGroup
			for n := range errs {
				wait.Go(func() {
					c := exec.CommandContext(t.Context(), self) //nolint:gosec // this test itself
					c.Env = append(os.Environ(), spec)
					outputs[n], errs[n] = c.CombinedOutput()
				})
			}
			wait.Wait()
			for n, err := range errs {
				if err != nil {
					t.Errorf("process %d: %v\n%s", n, err, outputs[n])
				}
			}
		})
	}
}

func TestMigrationsWaitForTheirLock(t *testing.T) {
	t.Parallel()
	b := newBench(t, polsettest.Postgres(t))
	holder, err := b.dialect.writer().BeginTx(b.ctx(), nil)
	b.must(err)
	_, err = holder.ExecContext(b.ctx(), "SELECT pg_advisory_xact_lock($1)", int64(migrationLock))
	b.must(err)
	opened := make(chan error, 1)
	go func() {
		s, err := Open(b.ctx(), b.config)
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	eventually(b, func(context.Context) bool {
		return b.count(`SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
			WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()`) == 1
	})
	b.must(holder.Rollback())
	b.must(<-opened)
}

func TestExclusive(t *testing.T) {
	t.Parallel()
	c := Config{URL: "sqlite://" + filepath.Join(t.TempDir(), "a b?c%d.db"), Exclusive: true, Registerer: prometheus.NewRegistry()}
	var err error
	if c.Key, err = ParseKey(NewKey()); err != nil {
		t.Fatal(err)
	}
	server, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "another polset serves") {
		t.Fatalf("a second server: %v", err)
	}

	// Beside the server: a short write, and a reader without a key.
	short := c
	short.Exclusive, short.Registerer = false, nil
	cli, err := Open(t.Context(), short)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := cli.CreateToken(t.Context(), admin, polset.Token{}); err != nil {
		t.Fatal(err)
	}
	reader, err := OpenReadOnly(t.Context(), Config{URL: c.URL})
	if err != nil {
		t.Fatal(err)
	}
	heads, err := reader.VerifyAudit(t.Context(), nil)
	if err != nil || len(heads) != 1 || heads[0].Sequence != 1 {
		t.Fatalf("heads %+v, %v", heads, err)
	}
	for _, s := range []*Store{cli, reader, server} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Open(t.Context(), c)
	if err != nil {
		t.Fatalf("after the first server ended: %v", err)
	}
	if err := again.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenReadOnlyRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := OpenReadOnly(t.Context(), Config{URL: filepath.Join(dir, "absent.db")}); err == nil {
		t.Error("opened a database that is not there")
	}
	if _, err := os.Stat(filepath.Join(dir, "absent.db")); err == nil {
		t.Error("made a database in order to read it")
	}
	if _, err := OpenReadOnly(t.Context(), Config{URL: polsettest.Postgres(t)}); err == nil || !strings.Contains(err.Error(), "older polset, or empty") {
		t.Errorf("an empty database: %v", err)
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("opened nothing")
	}
	key, err := ParseKey(NewKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{URL: "postgres://u:hunter2@[::1", Key: key}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a bad URL: %v", err)
	}
}

func TestNewerDatabaseRefuses(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, $1)`, true)
		if _, err := Open(b.ctx(), b.config); err == nil || !strings.Contains(err.Error(), "newer polset") {
			b.Fatalf("got %v", err)
		}
	})
}
