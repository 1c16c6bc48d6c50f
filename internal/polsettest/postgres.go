package polsettest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The environment in which internal/polsettest/services runs a command.
const (
	EnvDatabaseURL = "POLSET_TEST_DATABASE_URL"
	EnvS3Endpoint  = "POLSET_TEST_S3_ENDPOINT"
	EnvS3AccessKey = "POLSET_TEST_S3_ACCESS_KEY"
	EnvS3SecretKey = "POLSET_TEST_S3_SECRET_KEY"
)

// Postgres creates an empty database on the test services' server and returns
// its URL. The database, with whatever is still connected to it, is gone when
// the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	server := service(t, EnvDatabaseURL)
	name := "polset_" + unique()
	administer(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { administer(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("parse %s: %v", EnvDatabaseURL, err)
	}
	u.Path = "/" + name
	return u.String()
}

func administer(t testing.TB, server, statement string) {
	t.Helper()
	// The test's own context has ended by the time of its cleanup.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("connect to the test database server: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// service reads one variable of the test services.
func service(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run the tests through make test, which starts PostgreSQL and an S3 server for them", name)
	}
	return value
}

// unique is a name that no other test has, in lower-case letters and digits.
func unique() string { return strings.ToLower(rand.Text()) }
