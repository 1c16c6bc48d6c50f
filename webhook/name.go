package webhook

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

const maxNamePart = 100 // GitHub's limit of a repository's name; logins are shorter

// repositoryName reports whether s is owner/name as GitHub allows them.
func repositoryName(s string) bool {
	owner, name, ok := strings.Cut(s, "/")
	return ok && accountName(owner) && repositoryShortName(name)
}

// accountName reports whether s is a login as GitHub allows them. Those of
// managed users hold an underscore.
func accountName(s string) bool {
	if s == "" || len(s) > maxNamePart {
		return false
	}
	for _, r := range s {
		if !alphanumeric(r) && r != '-' && r != '_' {
			return false
		}
	}
	return s[0] != '-'
}

func repositoryShortName(s string) bool {
	if s == "" || len(s) > maxNamePart {
		return false
	}
	for _, r := range s {
		if !alphanumeric(r) && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return s != "." && s != ".."
}

const maxURL = 2048

// checkURL admits "" and absolute http and https URLs without credentials, as
// they can be shown to people as links.
func checkURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || len(s) > maxURL || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("must be an http or https URL")
	}
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return errors.New("must not contain characters that do not print")
		}
	}
	return nil
}

// hostAmong returns the one of the hosts that a URL is of, "" for none.
func hostAmong(httpURLs []string, link string) string {
	of := origin(link)
	for _, candidate := range httpURLs {
		if of != "" && origin(candidate) == of {
			return candidate
		}
	}
	return ""
}

// origin is a URL's scheme and host in the form for comparing, "" where it has
// none.
func origin(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" {
		return ""
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return scheme + "://" + host
}

// publicGitHub is the host that another of the operator's may stand for.
const publicGitHub = "https://github.com"

// hostsOf returns those of the hosts that a repository speaks for which is at
// link. None of them: there are several, and it is at none.
func hostsOf(httpURLs []string, link string) []string {
	var distinct []string
	for _, u := range httpURLs {
		if hostAmong(distinct, u) == "" {
			distinct = append(distinct, u)
		}
	}
	if len(distinct) < 2 {
		return distinct // whatever it calls itself, as behind a proxy
	}
	own := hostAmong(distinct, link)
	if own == "" {
		return nil
	}
	hosts := []string{own}
	if public := hostAmong(distinct, publicGitHub); public != "" && public != own {
		hosts = append(hosts, public)
	}
	return hosts
}
