package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// The steps that a ticket may be for. One is worth nothing at another.
const (
	stepForm    = "form"    // the form, against requests that other sites forge
	stepCreate  = "create"  // GitHub's state while the App is being created
	stepInstall = "install" // GitHub's state while it is being installed
	stepPerson  = "person"  // who GitHub said that the person is
	stepConfirm = "confirm" // the form that asks this person about the installation
	stepDone    = "done"    // what came of it
)

// A ticket is what polset lets a person carry, through GitHub or in a cookie:
// signed, for one step and one link in one browser, and for a limited time. It
// can be read by its holder and holds no secret.
type ticket struct {
	Step    string `json:"step"`
	Link    string `json:"link"` // fingerprint of what the browser holds of the link
	Expires int64  `json:"exp"`  // Unix seconds

	// Of a person, and of what is done.
	User         int64  `json:"user,omitempty"`
	Login        string `json:"login,omitempty"`
	Installation int64  `json:"inst,omitempty"`
	Since        int64  `json:"since,omitempty"` // when the waiting began
	Organization string `json:"org,omitempty"`

	// Of what is done.
	ID      string `json:"id,omitempty"` // ghain-…
	Account string `json:"acct,omitempty"`
}

// maxTicket is longer than any that polset signs.
const maxTicket = 2048

// sign returns the ticket in a form that fits a URL and a cookie.
func (w *Web) sign(t ticket, life time.Duration) (string, error) {
	t.Expires = w.Now().Add(life).Unix()
	body, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(body) + "." + base64.RawURLEncoding.EncodeToString(w.mac("ticket", body)), nil
}

// verify returns a ticket that polset signed for the step and that has not
// expired. Whether its link is the right one is for the caller to see.
func (w *Web) verify(s, step string) (ticket, bool) {
	first, second, ok := strings.Cut(s, ".")
	if !ok || len(s) > maxTicket {
		return ticket{}, false
	}
	body, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return ticket{}, false
	}
	mac, err := base64.RawURLEncoding.DecodeString(second)
	if err != nil || !hmac.Equal(mac, w.mac("ticket", body)) {
		return ticket{}, false
	}
	var t ticket
	if err := json.Unmarshal(body, &t); err != nil || t.Step != step || w.Now().Unix() >= t.Expires {
		return ticket{}, false
	}
	return t, true
}

// fingerprint names a link in a browser without telling what is held of it.
func (w *Web) fingerprint(h held) string {
	return base64.RawURLEncoding.EncodeToString(w.mac("link", []byte(h.value()))[:16])
}

func (w *Web) mac(purpose string, body []byte) []byte {
	h := hmac.New(sha256.New, w.StateKey)
	h.Write([]byte(purpose + "\x00")) // a hash never fails
	h.Write(body)
	return h.Sum(nil)
}
