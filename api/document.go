package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

const mediaType = "application/vnd.api+json"

// A document is JSON:API's top level: one resource or a list.
type document struct {
	Data     any        `json:"data"`
	Included []resource `json:"included,omitempty"`
	Links    *pageLinks `json:"links,omitempty"`
	Meta     *meta      `json:"meta,omitempty"`
}

// A resource is JSON:API's resource object. Attributes is a struct of the
// resource's own.
type resource struct {
	ID            string              `json:"id"`
	Type          string              `json:"type"`
	Attributes    any                 `json:"attributes,omitempty"`
	Relationships map[string]relation `json:"relationships,omitempty"`
	Links         map[string]string   `json:"links,omitempty"`
}

// An identifier names a resource.
type identifier struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// A relation is JSON:API's relationship object. Make it with toOne and toMany:
// clients tell null, an empty list and absence apart.
type relation struct {
	Data any `json:"data"`
}

// toOne relates to one resource, or to null where the id is "".
func toOne(kind, id string) relation {
	if id == "" {
		return relation{}
	}
	return relation{identifier{ID: id, Type: kind}}
}

// toMany relates to any number of resources; none is an empty list.
func toMany(kind string, ids ...string) relation {
	list := make([]identifier, len(ids))
	for i, id := range ids {
		list[i] = identifier{ID: id, Type: kind}
	}
	return relation{list}
}

// single returns a document of one resource.
func single(res resource, included ...resource) document {
	return document{Data: res, Included: onlyOthers([]resource{res}, included)}
}

// onlyOthers returns the included resources without repetition and without
// those of the primary data: go-tfe follows included resources through their
// relationships and would never come back from one that leads to itself.
func onlyOthers(primary, included []resource) []resource {
	seen := make(map[identifier]bool, len(primary)+len(included))
	for _, res := range primary {
		seen[identifier{res.ID, res.Type}] = true
	}
	var others []resource
	for _, res := range included {
		id := identifier{res.ID, res.Type}
		if !seen[id] {
			seen[id] = true
			others = append(others, res)
		}
	}
	return others
}

// send writes body as a JSON:API document. It is marshalled as a whole before
// the status goes out, so that a failure can still become a 500.
func (r *request) send(status int, body any) error {
	return r.sendAs(mediaType, status, body)
}

func (r *request) sendAs(contentType string, status int, body any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return fmt.Errorf("marshal document: %w", err)
	}
	return r.Blob(status, contentType, buf.Bytes())
}

// iso8601 is a time as HCP Terraform shows created-at and updated-at:
// milliseconds and a literal Z, which go-tfe insists on. Zero is null.
type iso8601 time.Time

// MarshalJSON implements json.Marshaler.
func (t iso8601) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z"))
}

// statusTimestamps maps status-at names to times. HCP Terraform writes these
// with an offset instead of a Z, and leaves out those that have not come.
func statusTimestamps(at map[string]time.Time) map[string]string {
	shown := make(map[string]string, len(at))
	for name, t := range at {
		if !t.IsZero() {
			shown[name] = t.UTC().Format("2006-01-02T15:04:05-07:00")
		}
	}
	return shown
}

// orNull is nil for the zero value, so that it is marshalled as null.
func orNull[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

// orZero is what a pointer leads to, or the zero value.
func orZero[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}
