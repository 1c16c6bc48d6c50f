package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/polset/polset"
)

const (
	objectPattern = "/v1/object/:token"
	linkLifetime  = time.Hour
	// linkPurpose keeps signatures of object links apart from whatever else a
	// key might sign one day.
	linkPurpose = "polset object link v1\n"
)

// linkOperation is the one thing that a link allows.
type linkOperation string

const (
	linkGet linkOperation = "get" // read the object
	linkPut linkOperation = "put" // upload what the link is for
)

// A link is what an object URL says: its token is the link as JSON and its
// HMAC-SHA256, both in base64url, with a full stop between them.
type link struct {
	Operation linkOperation `json:"op"`
	Key       string        `json:"key,omitempty"`  // to read bytes: in the object storage
	Name      string        `json:"name,omitempty"` // to read bytes: of the file that a client saves
	Kind      string        `json:"kind,omitempty"` // to upload, or to read as text: the type of the resource, as in JSON:API
	ID        string        `json:"id,omitempty"`   // of that resource
	By        string        `json:"by,omitempty"`   // with Kind: the actor who was given the link
	Expires   int64         `json:"exp"`            // in Unix seconds
}

// encoding refuses trailing bits, so that one link has one spelling.
var encoding = base64.RawURLEncoding.Strict()

// objectURL signs the link for an hour.
func (a *API) objectURL(l link) string {
	l.Expires = a.Now().Add(linkLifetime).Unix()
	claims, err := json.Marshal(l)
	if err != nil {
		panic(fmt.Sprintf("marshal object link: %v", err)) // strings and integers always marshal
	}
	payload := encoding.EncodeToString(claims)
	return a.PublicURL + "/v1/object/" + payload + "." + encoding.EncodeToString(a.linkMAC(payload))
}

func (a *API) linkMAC(payload string) []byte {
	mac := hmac.New(sha256.New, a.LinkKey)
	mac.Write([]byte(linkPurpose + payload))
	return mac.Sum(nil)
}

// openLink returns what a token says, if this server signed it, for this
// operation, within the hour.
func (a *API) openLink(token string, operation linkOperation) (link, bool) {
	var l link
	payload, signature, _ := strings.Cut(token, ".")
	given, err := encoding.DecodeString(signature)
	if err != nil || !hmac.Equal(given, a.linkMAC(payload)) {
		return l, false
	}
	claims, err := encoding.DecodeString(payload)
	if err != nil || json.Unmarshal(claims, &l) != nil {
		return l, false
	}
	return l, l.Operation == operation && a.Now().Before(time.Unix(l.Expires, 0))
}

// refuseObject answers for every link that is no good, without saying why.
func refuseObject(*request) error {
	return problem{Status: http.StatusForbidden, Title: "forbidden", Detail: "This link is not valid, or no longer. Ask the API for a new one."}
}

// uploadObject takes the bytes of a resource from whoever holds a link to it.
// The link is the only proof: clients send no token.
func (a *API) uploadObject(r *request) (err error) {
	l, ok := a.openLink(r.Param("token"), linkPut)
	if !ok {
		return refuseObject(r)
	}
	if r.by, err = a.granted(r, l); err != nil {
		return err
	}
	var take func(*request, link) (document, error)
	switch l.Kind {
	case "policy-set-versions":
		take = a.uploadVersion
	case configurationKind:
		take = a.uploadConfigurationVersion
	default:
		return refuseObject(r)
	}
	taken, err := take(r, l)
	if err := errors.Join(err, answerSoon(r)); err != nil {
		return err
	}
	return r.send(http.StatusOK, taken)
}

// granted returns who was given a link to upload, while they may still do what
// it is for: a token that is revoked, or has expired, takes its links with it.
func (a *API) granted(r *request, l link) (polset.Principal, error) {
	needs := polset.PermissionManagePolicies
	if l.Kind == configurationKind {
		needs = polset.PermissionCreateRuns
	}
	by, err := a.standing(r, l.By)
	if errors.Is(err, polset.ErrUnauthorized) || err == nil && !by.Can(needs) {
		return polset.Principal{}, refuseObject(r)
	}
	return by, err
}

// downloadObject streams an object to whoever holds a link to it.
func (a *API) downloadObject(r *request) (err error) {
	l, ok := a.openLink(r.Param("token"), linkGet)
	if !ok {
		return refuseObject(r)
	}
	if l.Kind != "" {
		return a.readText(r, l)
	}
	tag := `"` + l.Key + `"` // the key is the digest of the bytes
	header := r.Response().Header()
	header.Set("ETag", tag)
	header.Set("Cache-Control", "private, no-cache")
	header.Set("Referrer-Policy", "no-referrer")
	if matches(r.Request().Header.Get("If-None-Match"), tag) {
		return r.NoContent(http.StatusNotModified)
	}
	object, size, err := a.Objects.Open(r.ctx(), l.Key)
	if err != nil {
		header.Del("ETag")
		return err
	}
	defer func() { err = errors.Join(err, object.Close()) }()
	header.Set(echo.HeaderContentType, "application/gzip")
	header.Set(echo.HeaderContentLength, strconv.FormatInt(size, 10))
	header.Set(echo.HeaderContentDisposition, `attachment; filename="`+l.Name+`.tar.gz"`)
	r.Response().WriteHeader(http.StatusOK)
	if r.Request().Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(r.Response(), object); err != nil {
		// The client sees fewer bytes than Content-Length promised.
		return fmt.Errorf("stream object %s: %w", l.Key, err)
	}
	return nil
}

// readText answers with the text that a link leads to: as it is now, and as long
// as who was given the link may see it.
func (a *API) readText(r *request, l link) error {
	by, err := a.standing(r, l.By)
	if errors.Is(err, polset.ErrUnauthorized) {
		return refuseObject(r)
	}
	if err != nil {
		return err
	}
	var text string
	switch l.Kind {
	case "policy-checks":
		var c polset.Check
		if c, err = a.Checks.Check(r.ctx(), by, l.ID); err == nil {
			text, err = a.checkOutput(r.ctx(), by, c)
		}
	case "plans":
		text, err = a.planLog(r.ctx(), by, l.ID)
	default:
		return refuseObject(r)
	}
	if err != nil {
		return err
	}
	from, err := r.offset("offset", 0, len(text))
	if err != nil {
		return err
	}
	size, err := r.offset("limit", len(text)-from, len(text)-from)
	if err != nil {
		return err
	}
	r.Response().Header().Set("Referrer-Policy", "no-referrer")
	return r.sendText(text[from : from+size])
}

// offset reads a number of bytes, of which there are so many: clients read logs
// piece by piece.
func (r *request) offset(name string, absent, limit int) (int, error) {
	text := r.query.Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, badParameter(name, "%s must be a number of bytes.", name)
	}
	return min(int(n), limit), nil
}

// matches applies If-None-Match to an entity tag.
func matches(condition, tag string) bool {
	for _, candidate := range strings.Split(condition, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == "*" || candidate == tag {
			return true
		}
	}
	return false
}
