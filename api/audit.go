package api

import (
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/polset/polset"
)

// maxAuditPageSize is HCP Terraform's page of this one list, and its default.
const maxAuditPageSize = 1000

// auditTrail is HCP Terraform's shape, which is not JSON:API.
type auditTrail struct {
	Data       []auditEvent    `json:"data"`
	Pagination auditPagination `json:"pagination"`
}

// An auditEvent is an entry of the chain in HCP Terraform's words, followed by
// what it takes to verify it: the action of the entry is resource.type, a full
// stop and resource.action; its details are resource.meta.
type auditEvent struct {
	ID        string        `json:"id"`
	Version   string        `json:"version"`
	Type      string        `json:"type"`
	Timestamp string        `json:"timestamp"`
	Auth      auditAuth     `json:"auth"`
	Request   auditRequest  `json:"request"`
	Resource  auditResource `json:"resource"`

	Chain    string `json:"chain"`
	Sequence int64  `json:"sequence"`
	Previous string `json:"previous"`
	Hash     string `json:"hash"`
}

type auditAuth struct {
	AccessorID     string  `json:"accessor_id"`
	Description    string  `json:"description"`
	Type           string  `json:"type"`
	ImpersonatorID *string `json:"impersonator_id"`
	OrganizationID *string `json:"organization_id"`
}

type auditRequest struct {
	ID *string `json:"id"` // the delivery that brought it
}

type auditResource struct {
	ID     string            `json:"id"`
	Type   string            `json:"type"`
	Action string            `json:"action"`
	Meta   map[string]string `json:"meta"`
}

type auditPagination struct {
	CurrentPage int  `json:"current_page"`
	PrevPage    *int `json:"prev_page"`
	NextPage    *int `json:"next_page"`
	TotalPages  int  `json:"total_pages"`
	TotalCount  int  `json:"total_count"`
}

func (a *API) listAuditTrail(r *request) error {
	page, err := r.pageOf(maxAuditPageSize, maxAuditPageSize)
	if err != nil {
		return err
	}
	var since time.Time
	if text := r.query.Get("since"); text != "" {
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			return badParameter("since", "since must be a time such as 2026-01-31T17:52:46Z.")
		}
	}
	reader, err := a.auditReader(r)
	if err != nil {
		return err
	}
	entries, total, err := a.Audit.AuditTrail(r.ctx(), reader, since, page)
	if err != nil {
		return err
	}
	p := paginate(page, total)
	trail := auditTrail{
		Data: make([]auditEvent, len(entries)),
		Pagination: auditPagination{
			CurrentPage: p.CurrentPage, PrevPage: p.PrevPage, NextPage: p.NextPage,
			TotalPages: p.TotalPages, TotalCount: p.TotalCount,
		},
	}
	for i, entry := range entries {
		trail.Data[i] = newAuditEvent(entry)
	}
	return r.sendAs(echo.MIMEApplicationJSON, http.StatusOK, trail)
}

var externalID = regexp.MustCompile(`^org-[A-Za-z0-9]{16}$`)

// auditReader is the principal whose chain is read. A site admin reads all
// chains, or names an organization; one that was deleted by its org-… id,
// since its chain outlives it.
func (a *API) auditReader(r *request) (polset.Principal, error) {
	name := r.query.Get("organization")
	if name == "" {
		return r.by, nil
	}
	if !plausibleID.MatchString(name) {
		return r.by, polset.ErrNotFound
	}
	reader := r.by
	if externalID.MatchString(name) && (r.by.SiteAdmin() || r.by.OrganizationID == name) {
		reader.OrganizationID = name
		return reader, nil
	}
	org, err := a.Organizations.Organization(r.ctx(), r.by, name)
	if err != nil {
		return reader, err
	}
	reader.OrganizationID = org.ID
	return reader, nil
}

func newAuditEvent(e polset.AuditEntry) auditEvent {
	noun, verb, _ := strings.Cut(e.Action, ".")
	event := auditEvent{
		ID:        eventID(e.Hash),
		Version:   "0",
		Type:      "Resource",
		Timestamp: e.At.UTC().Format("2006-01-02T15:04:05.000000Z"), // as it was hashed
		Auth:      auditAuth{AccessorID: e.Actor, Description: e.Actor, Type: "Client"},
		Request:   auditRequest{ID: orNull(e.Details["delivery"])},
		Resource:  auditResource{ID: e.Subject, Type: noun, Action: verb, Meta: e.Details},
		Chain:     e.Chain,
		Sequence:  e.Sequence,
		Previous:  e.Previous,
		Hash:      e.Hash,
	}
	if e.Actor == polset.System.Actor {
		event.Auth.Type = "System"
	}
	if e.Chain != polset.ChainSite {
		event.Auth.OrganizationID = &e.Chain
	}
	if event.Resource.Meta == nil {
		event.Resource.Meta = map[string]string{}
	}
	return event
}

// eventID makes a UUID of the hash, since HCP Terraform's events have one: the
// same for the same entry, version 8 as it is of our own making.
func eventID(hash string) string {
	var id uuid.UUID
	sum, err := hex.DecodeString(hash)
	if err != nil || copy(id[:], sum) < len(id) {
		return hash // a broken row still has to be shown
	}
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}
