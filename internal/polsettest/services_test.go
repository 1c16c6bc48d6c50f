package polsettest_test

import (
	"io"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5"

	"github.com/polset/polset/internal/polsettest"
)

// Each test has a database of its own, which goes with it, whoever is connected.
func TestPostgres(t *testing.T) {
	var database string
	t.Run("has a database", func(t *testing.T) {
		database = polsettest.Postgres(t)
		conn, err := pgx.Connect(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		// The connection stays open.
		if _, err := conn.Exec(t.Context(), "CREATE TABLE t (a int)"); err != nil {
			t.Fatal(err)
		}
	})
	if conn, err := pgx.Connect(t.Context(), database); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the database outlived its test")
	}
}

func TestS3(t *testing.T) {
	target, err := url.Parse(polsettest.S3(t))
	if err != nil {
		t.Fatal(err)
	}
	query := target.Query()
	if target.Scheme != "s3" || target.Path != "/prefix" || query.Get("path-style") != "true" ||
		query.Get("region") != "us-east-1" || query.Get("endpoint") != os.Getenv(polsettest.EnvS3Endpoint) ||
		os.Getenv("AWS_ACCESS_KEY_ID") == "" || os.Getenv("AWS_SECRET_ACCESS_KEY") == "" {
		t.Errorf("the bucket is %s", target)
	}

	b := polsettest.NewBucket(t)
	key := "a/b"
	if _, err := b.Client().PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &b.Name, Key: &key, Body: strings.NewReader("bytes"),
	}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Client().GetObject(t.Context(), &s3.GetObjectInput{Bucket: &b.Name, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	if content, err := io.ReadAll(got.Body); err != nil || string(content) != "bytes" {
		t.Errorf("the object is %q, %v", content, err)
	}
	b.SecretKey = "wrong"
	if _, err := b.Client().GetObject(t.Context(), &s3.GetObjectInput{Bucket: &b.Name, Key: &key}); err == nil {
		t.Error("a wrong secret was accepted")
	}
}
