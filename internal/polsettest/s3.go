package polsettest

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A Bucket is an empty S3 bucket of one test.
type Bucket struct {
	Name      string
	Endpoint  string // such as http://127.0.0.1:4711
	Region    string
	AccessKey string
	SecretKey string
}

// S3 creates an empty bucket on the test services' server and returns it as
// polset's object URL, prefix included. The credentials go into the
// environment, where the AWS SDK finds them; a test that runs in parallel
// with others cannot have that and takes NewBucket.
func S3(t testing.TB) string {
	t.Helper()
	b := NewBucket(t)
	t.Setenv("AWS_ACCESS_KEY_ID", b.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", b.SecretKey)
	return b.URL("prefix")
}

// NewBucket creates an empty bucket and leaves the environment alone. It goes
// with the services' directory.
func NewBucket(t testing.TB) Bucket {
	t.Helper()
	b := Bucket{
		Name:      "polset-" + unique(),
		Endpoint:  service(t, EnvS3Endpoint),
		Region:    "us-east-1",
		AccessKey: service(t, EnvS3AccessKey),
		SecretKey: service(t, EnvS3SecretKey),
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := b.Client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &b.Name}); err != nil {
		t.Fatalf("create bucket %s: %v", b.Name, err)
	}
	return b
}

// URL is the bucket in the form that polset is configured with. The prefix
// may be empty.
func (b Bucket) URL(prefix string) string {
	u := url.URL{Scheme: "s3", Host: b.Name, RawQuery: "region=" + b.Region +
		"&endpoint=" + b.Endpoint + "&path-style=true"}
	if prefix != "" {
		u.Path = "/" + prefix
	}
	return u.String()
}

// Client speaks to the bucket's server past polset.
func (b Bucket) Client() *s3.Client {
	return s3.New(s3.Options{
		Region:       b.Region,
		BaseEndpoint: aws.String(b.Endpoint),
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(b.AccessKey, b.SecretKey, ""),
	})
}
