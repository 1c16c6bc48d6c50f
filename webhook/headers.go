package webhook

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/google/go-github/v60/github"
	"github.com/google/uuid"
)

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// plainJSON checks that the body is JSON as it stands: the signature covers
// the raw bytes, so a form or a compressed body would need another reading.
func plainJSON(h http.Header) error {
	types := h.Values("Content-Type")
	if len(types) != 1 {
		return errors.New("set the content type of the webhook to application/json: the request must have exactly one Content-Type")
	}
	mediaType, _, err := mime.ParseMediaType(types[0])
	switch {
	case err == nil && mediaType == formType:
		return errors.New("set the content type of the webhook to application/json: form-encoded deliveries are not accepted")
	case err != nil || mediaType != jsonType:
		return errors.New("set the content type of the webhook to application/json")
	}
	for _, value := range h.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(value, ",") {
			coding = strings.TrimSpace(coding)
			if coding != "" && !strings.EqualFold(coding, "identity") {
				return errors.New("send the body without a Content-Encoding: compressed deliveries are not accepted")
			}
		}
	}
	return nil
}

// deliveryGUID returns X-GitHub-Delivery in lower case, or "" where it is
// missing, repeated or not a uuid.
func deliveryGUID(h http.Header) string {
	values := h.Values(github.DeliveryIDHeader)
	if len(values) != 1 {
		return ""
	}
	return canonicalUUID(values[0])
}

// canonicalUUID returns s in lower case where it is a uuid in its usual form
// of 36 characters, and "" otherwise.
func canonicalUUID(s string) string {
	if len(s) != 36 || uuid.Validate(s) != nil {
		return ""
	}
	return strings.ToLower(s)
}

const maxEventName = 100

// eventName returns X-GitHub-Event, or "" where it is missing, repeated or
// nothing that could name an event. The header is not signed: its form is all
// that can be known of it.
func eventName(h http.Header) string {
	values := h.Values(github.EventTypeHeader)
	if len(values) != 1 || len(values[0]) > maxEventName {
		return ""
	}
	for _, r := range values[0] {
		if !alphanumeric(r) && r != '_' && r != '-' && r != '.' {
			return ""
		}
	}
	return values[0]
}

func alphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
