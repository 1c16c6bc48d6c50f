package object_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/polset/polset/store/object"
)

func TestOpenRefusesURLs(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	for _, tc := range []struct{ url, want string }{
		{"", "scheme"},
		{"/var/lib/objects", "scheme"},
		{"gs://bucket", "scheme"},
		{"https://hunter2.s3.amazonaws.com/", "scheme"},
		{"file://relative/dir", "absolute"},
		{"file:relative", "absolute"},
		{"file://", "absolute"},
		{"file:///dir?sync=false", `"sync"`},
		{"file:///dir#x", "fragment"},
		{"s3://", "bucket"},
		{"s3:///prefix?region=r", "bucket"},
		{"s3://bucket:9000/prefix", "endpoint"},
		{"s3://bucket?reigon=eu-central-1", `"reigon"`},
		{"s3://bucket?region=a&region=b", `"region"`},
		{"s3://bucket?region=a&access_key=hunter2", `"access_key"`},
		{"s3://bucket?region=a&path-style=yes", "path-style"},
		{"s3://bucket?region=a&path-style=", "path-style"},
		{"s3://bucket/a//b?region=a", "prefix"},
		{"s3://bucket/a/../b?region=a", "prefix"},
		{"s3://bucket/./b?region=a", "prefix"},
		{"s3://bucket?region=a&endpoint=minio:9000", "endpoint"},
		{"s3://bucket?region=a&endpoint=ftp://minio", "endpoint"},
		{"s3://bucket?region=a&endpoint=http://key:hunter2@minio", "endpoint"},
		{"s3://key:hunter2@bucket?region=a", "credentials"},
		{"s3://hunter2@bucket?region=a", "credentials"},
		{"file://user:hunter2@host/dir", "credentials"},
		{"s3://key:hun%ter2@bucket", "parsed"},
		{"s3://key:hunter2@bucket:port", "parsed"},
		{"s3://bucket?region=%hunter2", "parsed"},
		{"s3://bucket", "region"},
	} {
		t.Run(tc.url, func(t *testing.T) {
			_, err := object.Open(t.Context(), tc.url, object.Config{})
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error %q does not hold %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "hun%ter2") {
				t.Errorf("the error shows what may be a credential: %v", err)
			}
		})
	}
}

func TestOpenAcceptsURLs(t *testing.T) {
	for _, url := range []string{
		"file://" + t.TempDir(),
		"file://" + t.TempDir() + "/with%20space/and/depth/",
		"s3://bucket?region=eu-central-1",
		"s3://bucket/a/b/?endpoint=http://127.0.0.1:9000&path-style=true",
		"s3://my.dotted_bucket?endpoint=https%3A%2F%2Fminio.example.com%2Fs3&path-style=false&region=x",
	} {
		t.Run(url, func(t *testing.T) {
			if _, err := object.Open(t.Context(), url, object.Config{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenRefusesAFileForADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"file://" + path, "file://" + path + "/objects"} {
		if _, err := object.Open(t.Context(), url, object.Config{}); err == nil {
			t.Errorf("%s accepted", url)
		}
	}
}
