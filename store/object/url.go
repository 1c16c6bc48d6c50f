package object

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A location is what an object storage URL names.
type location struct {
	dir string // of a file URL; "" for S3

	bucket    string
	prefix    string // without slashes around it
	region    string // "": the environment's
	endpoint  string // "": Amazon's
	pathStyle bool
}

// parseURL never quotes the URL: somebody may have put a credential there.
func parseURL(text string) (location, error) {
	u, err := url.Parse(text)
	if err != nil {
		return location{}, errors.New("it cannot be parsed; write file:///directory or s3://bucket/prefix")
	}
	switch {
	case u.User != nil:
		return location{}, errors.New("it holds a user or a password; credentials belong in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) or in the AWS configuration files")
	case u.Fragment != "":
		return location{}, errors.New("it has a fragment (#…), which means nothing here")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return location{}, errors.New("its parameters cannot be parsed")
	}
	switch u.Scheme {
	case "file":
		return parseFileURL(u, query)
	case "s3":
		return parseS3URL(u, query)
	}
	return location{}, errors.New("its scheme is neither file nor s3; write file:///directory or s3://bucket/prefix")
}

func parseFileURL(u *url.URL, query url.Values) (location, error) {
	if err := onlyParameters(query); err != nil {
		return location{}, err
	}
	if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
		return location{}, errors.New("a file URL needs an absolute path after three slashes, as in file:///var/lib/polset/objects")
	}
	return location{dir: path.Clean(u.Path)}, nil
}

func parseS3URL(u *url.URL, query url.Values) (location, error) {
	if err := onlyParameters(query, "region", "endpoint", "path-style"); err != nil {
		return location{}, err
	}
	if u.Host == "" || u.Port() != "" {
		return location{}, errors.New("an s3 URL needs the name of a bucket after two slashes, as in s3://bucket/prefix; another server goes into the parameter endpoint")
	}
	at := location{
		bucket:   u.Host,
		prefix:   strings.Trim(u.Path, "/"),
		region:   query.Get("region"),
		endpoint: query.Get("endpoint"),
	}
	if at.prefix != "" && path.Clean("/"+at.prefix) != "/"+at.prefix {
		return location{}, errors.New(`the prefix holds an empty component, "." or ".."`)
	}
	if at.endpoint != "" {
		e, err := url.Parse(at.endpoint)
		if err != nil || e.User != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.RawQuery != "" || e.Fragment != "" {
			return location{}, errors.New("the endpoint must be an http or https address without credentials and parameters, as in https://minio.example.com:9000")
		}
	}
	if query.Has("path-style") {
		style, err := strconv.ParseBool(query.Get("path-style"))
		if err != nil {
			return location{}, errors.New("path-style must be true or false")
		}
		at.pathStyle = style
	}
	return at, nil
}

// onlyParameters refuses parameters other than those known, and any that is
// given twice. It names them, but not their values.
func onlyParameters(query url.Values, known ...string) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(known, name) {
			list := "none is known"
			if len(known) > 0 {
				list = "known are " + strings.Join(known, ", ")
			}
			return fmt.Errorf("the parameter %q is unknown; %s", name, list)
		}
		if len(query[name]) > 1 {
			return fmt.Errorf("the parameter %q is given more than once", name)
		}
	}
	return nil
}
