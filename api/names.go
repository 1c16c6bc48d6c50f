package api

import "regexp"

// What most resources have, and what of it they allow.
const (
	maxName        = 128
	maxDescription = 4096
)

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// checkName judges a name that is given, of up to most bytes; nil is left alone.
func checkName(name *string, most int) problems {
	if name != nil && (len(*name) > most || !validName.MatchString(*name)) {
		return problems{invalid("name", "Name must be 1 to %d letters, digits, hyphens and underscores.", most)}
	}
	return nil
}

// checkDescription judges a description that is given; nil is left alone.
func checkDescription(description *string) problems {
	if description != nil && len(*description) > maxDescription {
		return problems{invalid("description", "description must not exceed %d bytes.", maxDescription)}
	}
	return nil
}
