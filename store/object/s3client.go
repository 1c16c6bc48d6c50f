package object

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"go.uber.org/zap"
)

func openS3(ctx context.Context, at location, config Config) (Bucket, error) {
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithLogger(sdkLogger{config.Logger}),
		awsconfig.WithClientLogMode(aws.LogRetries),
	}
	if at.region != "" {
		options = append(options, awsconfig.WithRegion(at.region))
	}
	loaded, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		if at.endpoint == "" {
			return nil, errors.New("object storage URL: the region is missing; add ?region=… or set AWS_REGION")
		}
		loaded.Region = "us-east-1" // what storages that know no regions expect
	}
	client, err := httpClient(loaded, config)
	if err != nil {
		return nil, err
	}
	return &s3Bucket{
		client: s3.NewFromConfig(loaded, func(o *s3.Options) {
			o.HTTPClient = client
			o.UsePathStyle = at.pathStyle
			if at.endpoint != "" {
				o.BaseEndpoint = &at.endpoint
			}
			// Puts carry the sha256 and reads verify it. The SDK's further
			// checksums would cost a pass more, and some storages refuse them.
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
			o.Retryer = retryer(config)
		}),
		bucket:  at.bucket,
		prefix:  at.prefix,
		timeout: config.Timeout,
		log:     config.Logger,
	}, nil
}

// httpClient is the SDK's own, with the environment's CA bundle, which never
// follows a redirect.
func httpClient(loaded aws.Config, config Config) (*http.Client, error) {
	if loaded.HTTPClient == nil { // no CA bundle in the environment
		loaded.HTTPClient = awshttp.NewBuildableClient()
	}
	buildable, ok := loaded.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, fmt.Errorf("load the AWS configuration: unexpected HTTP client %T", loaded.HTTPClient)
	}
	frozen, ok := buildable.WithTransportOptions(func(t *http.Transport) {
		t.ResponseHeaderTimeout = config.AttemptTimeout
	}).Freeze().(*http.Client)
	if !ok {
		return nil, errors.New("load the AWS configuration: unexpected HTTP client")
	}
	if config.Wrap != nil {
		frozen.Transport = config.Wrap(frozen.Transport)
	}
	return frozen, nil
}

// retryer repeats what the SDK's standard retryer repeats (no connection, no
// answer, 5xx, throttling), and the conflict of two conditional puts at once,
// of which Amazon says to try again.
func retryer(config Config) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = config.MaxAttempts
		o.MaxBackoff = config.MaxBackoff
		o.Retryables = append(o.Retryables, retry.RetryableErrorCode{
			Codes: map[string]struct{}{"ConditionalRequestConflict": {}},
		})
	})
}

// sdkLogger makes the SDK's remarks, that a request is tried again, ours.
type sdkLogger struct{ log *zap.Logger }

// Logf implements logging.Logger.
func (l sdkLogger) Logf(class logging.Classification, format string, args ...any) {
	if class == logging.Warn {
		l.log.Warn("AWS SDK", zap.String("remark", fmt.Sprintf(format, args...)))
		return
	}
	l.log.Debug("AWS SDK", zap.String("remark", fmt.Sprintf(format, args...)))
}
