package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/polset/polset"
)

// ParseSecrets reads POLSET_GITHUB_WEBHOOK_SECRET: secrets separated by commas,
// the newest first, white space around them left out. "" gives none; an empty
// element is an error, because it would let everybody sign.
func ParseSecrets(list string) ([]polset.Secret, error) {
	if list == "" {
		return nil, nil
	}
	parts := strings.Split(list, ",")
	secrets := make([]polset.Secret, 0, len(parts))
	for i, part := range parts {
		part = strings.TrimSpace(part)
		if part == "" {
			return nil, fmt.Errorf("parse webhook secrets: element %d of %d is empty", i+1, len(parts))
		}
		secrets = append(secrets, polset.NewSecret(part))
	}
	return secrets, nil
}

const signaturePrefix = "sha256="

// signature returns the MAC that the request carries in X-Hub-Signature-256.
// go-github's ValidatePayload is not used: it falls back to SHA-1, and skips
// the check when both secret and signature are empty.
func signature(h http.Header) ([]byte, error) {
	values := h.Values(github.SHA256SignatureHeader)
	if len(values) == 0 {
		if h.Get(github.SHA1SignatureHeader) != "" {
			return nil, errors.New("the request is signed with SHA-1 only; X-Hub-Signature-256 is required")
		}
		return nil, errors.New("the request is not signed; X-Hub-Signature-256 is required: give the webhook its secret")
	}
	if len(values) > 1 {
		return nil, errors.New("the request has more than one X-Hub-Signature-256")
	}
	digits, ok := strings.CutPrefix(values[0], signaturePrefix)
	if !ok {
		return nil, errors.New("X-Hub-Signature-256 does not begin with sha256=")
	}
	mac, err := hex.DecodeString(digits)
	if err != nil || len(mac) != sha256.Size {
		return nil, errors.New("X-Hub-Signature-256 is not 64 hexadecimal digits after sha256=")
	}
	return mac, nil
}

// signed reports whether any of the secrets gives mac for body. It tries all
// of them, so that its time does not tell which one did. An empty secret never
// verifies.
func signed(body, mac []byte, secrets []polset.Secret) bool {
	found := false
	for _, s := range secrets {
		if s.Empty() {
			continue
		}
		h := hmac.New(sha256.New, []byte(s.Reveal()))
		h.Write(body) // a hash never fails
		match := hmac.Equal(h.Sum(nil), mac)
		found = match || found
	}
	return found
}
