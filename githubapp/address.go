package githubapp

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/polset/polset"
)

const (
	publicWeb = "https://github.com"
	publicAPI = "https://api.github.com"
)

// bases parses the two addresses of the operator's GitHub.
func bases(web, api string) (webURL, apiURL *url.URL, err error) {
	if web == "" {
		web = publicWeb
	}
	if webURL, err = parseBase(web); err != nil {
		return nil, nil, fmt.Errorf("the URL of GitHub: %w", err)
	}
	if api == "" {
		api = publicAPI
		if originOf(webURL) != publicWeb {
			api = webURL.String() + "/api/v3"
		}
	}
	if apiURL, err = parseBase(api); err != nil {
		return nil, nil, fmt.Errorf("the URL of GitHub's API: %w", err)
	}
	return webURL, apiURL, nil
}

// base returns the REST API of a remote.
func (c *Client) base(r polset.Remote) (*url.URL, error) {
	if r.Installation != 0 || r.APIURL == "" {
		return c.api, nil // the App is the operator's GitHub's, whatever a row says
	}
	u, err := parseBase(r.APIURL)
	if err != nil {
		return nil, polset.Fail(polset.ClassURLForbidden, "polset does not dial the API URL of the connection: %v.", err)
	}
	if originOf(u) == publicAPI {
		return c.api, nil
	}
	if u.Scheme != "https" && originOf(u) != originOf(c.api) {
		return nil, polset.Fail(polset.ClassURLForbidden,
			"polset does not dial %s, because only the operator's own GitHub may be plain http; use https.", quote(originOf(u)))
	}
	return u, nil
}

var segment = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// repositoryPath returns the path of a repository below the API.
func repositoryPath(identifier string) (string, error) {
	owner, name, _ := strings.Cut(identifier, "/")
	for _, s := range []string{owner, name} {
		if !segment.MatchString(s) || s == "." || s == ".." {
			return "", polset.Fail(polset.ClassURLForbidden,
				"The repository identifier %s is not of the form owner/name.", quote(identifier))
		}
	}
	return "/repos/" + owner + "/" + name, nil
}

// parseBase parses an absolute http or https URL that names a host, perhaps a
// path, and nothing else. Its errors never quote credentials.
func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	u.Scheme = strings.ToLower(u.Scheme)
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("only https URLs are allowed")
	case u.User != nil:
		return nil, errors.New("a URL must not hold a user name or password")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("it names no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("a URL must not hold a query or a fragment")
	}
	for s := range strings.SplitSeq(strings.Trim(u.Path, "/"), "/") {
		if s != "" && (!segment.MatchString(s) || s == "." || s == "..") {
			return nil, errors.New("its path holds more than letters, digits, hyphens, dots and underscores")
		}
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

// originOf returns scheme, host and port in a form that can be compared.
func originOf(u *url.URL) string {
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return scheme + "://" + host
	}
	return scheme + "://" + host + ":" + port
}

// quote returns s for a sentence: as it is if it is plain, otherwise in quotes
// with whatever is not printable escaped, and never long.
func quote(s string) string {
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	if q := strconv.QuoteToGraphic(s); q != `"`+s+`"` || s == "" || strings.Contains(s, " ") {
		return q
	}
	return s
}
