package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/polset/polset"
)

const (
	maxTags     = polset.MaxTagBindings // that one request binds, or a list is filtered by
	maxTagKey   = 128
	maxTagValue = 256
)

// A tag as it is bound to something, and as it is in effect.
type tagAttributes struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

// A name is a tag that is a key only, as clients wrote it before there were
// values.
type tagNameAttributes struct {
	Name string `json:"name"`
}

type tagDraft struct {
	Key   optional[string] `json:"key"`
	Value optional[string] `json:"value"`
	Name  optional[string] `json:"name"` // of the type tags
}

func tagResource(t polset.TagBinding) resource {
	return resource{ID: t.ID, Type: "tag-bindings", Attributes: tagAttributes{Key: t.Key, Value: orNull(t.Value)}}
}

// effectiveTagResource is a tag as it is in effect. Clients tell by the link
// which tags are not the workspace's own.
func effectiveTagResource(workspaceID string, t polset.TagBinding) resource {
	res := tagResource(t)
	res.ID, res.Type = effectiveTagID(workspaceID, t), "effective-tag-bindings"
	if t.ProjectID != "" {
		res.Links = map[string]string{"inherited-from": prefix + "/projects/" + t.ProjectID}
	}
	return res
}

// effectiveTagID names a tag as it is in effect on one workspace: an inherited
// one is in effect on several.
func effectiveTagID(workspaceID string, t polset.TagBinding) string {
	if t.ProjectID == "" {
		return "e" + t.ID
	}
	return "e" + t.ID + "-" + strings.TrimPrefix(workspaceID, "ws-")
}

func tagIDs(tags []polset.TagBinding) []string {
	ids := make([]string, len(tags))
	for i, t := range tags {
		ids[i] = t.ID
	}
	return ids
}

// sendTags answers with a list that is never long enough for pages.
func (a *API) sendTags(r *request, tags []polset.TagBinding, one func(polset.TagBinding) resource) error {
	data := make([]resource, len(tags))
	for i, t := range tags {
		data[i] = one(t)
	}
	return r.send(http.StatusOK, a.list(r, data, polset.Page{Number: 1, Size: max(len(data), 1)}, len(data)))
}

// decodeTags reads an array of resources of the type tag-bindings, or tags.
// Those that are taken away may be named by their ids alone.
func decodeTags(r *request, kind string, takenAway bool) ([]polset.TagBinding, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	data, err := dataOf(body)
	if err != nil {
		return nil, err
	}
	tags, wrong := tagsOf(data, "/data", kind, takenAway)
	return tags, wrong.orNil()
}

// relatedTags reads the tags of a relationship; nil where it is left out.
func relatedTags(relationships map[string]json.RawMessage, name, kind string) (*[]polset.TagBinding, problems) {
	raw, ok := relationships[name]
	if !ok {
		return nil, nil
	}
	pointer := "/data/relationships/" + name
	var relationship struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(raw, &relationship); err != nil || len(relationship.Data) == 0 {
		return nil, problems{malformedDocument(pointer, member(pointer)+" must have an array of "+kind+" as its data.")}
	}
	tags, wrong := tagsOf(relationship.Data, pointer+"/data", kind, false)
	return &tags, wrong
}

func tagsOf(data json.RawMessage, pointer, kind string, takenAway bool) ([]polset.TagBinding, problems) {
	var list []struct {
		Type       string   `json:"type"`
		ID         string   `json:"id"`
		Attributes tagDraft `json:"attributes"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, problems{malformedDocument(pointer, "data must be an array of "+kind+" with a key, and perhaps a value, as their attributes.")}
	}
	if len(list) > maxTags {
		return nil, problems{malformedDocument(pointer, fmt.Sprintf("data holds %d tags; at most %d are taken at once.", len(list), maxTags))}
	}
	tags := make([]polset.TagBinding, 0, len(list))
	var wrong problems
	for i, t := range list {
		at := pointer + "/" + strconv.Itoa(i)
		if t.Type != kind {
			wrong = append(wrong, mismatch(at+"/type", "%s is %q, and %q is expected.", member(at+"/type"), t.Type, kind))
			continue
		}
		tag := polset.TagBinding{ID: t.ID, Key: t.Attributes.Key.Or(""), Value: t.Attributes.Value.Or("")}
		attribute := "/attributes/key"
		if kind == "tags" {
			tag = polset.TagBinding{ID: t.ID, Key: t.Attributes.Name.Or("")}
			attribute = "/attributes/name"
		}
		if !validTag(tag.Key, maxTagKey) || (tag.Key == "" && (!takenAway || tag.ID == "")) {
			wrong = append(wrong, malformedDocument(at+attribute, fmt.Sprintf("A tag's key must be 1 to %d characters, without control characters and without spaces around it.", maxTagKey)))
		}
		if !validTag(tag.Value, maxTagValue) {
			wrong = append(wrong, malformedDocument(at+"/attributes/value", fmt.Sprintf("A tag's value must be up to %d characters, without control characters and without spaces around it.", maxTagValue)))
		}
		tags = append(tags, tag)
	}
	return tags, wrong
}

func validTag(text string, limit int) bool {
	return utf8.RuneCountInString(text) <= limit && strings.TrimSpace(text) == text && !strings.ContainsFunc(text, unicode.IsControl)
}

// tooManyTags says in the client's terms that the store's limit was reached;
// any other error passes.
func tooManyTags(err error) error {
	if errors.Is(err, polset.ErrTooMany) {
		return problem{
			Status: http.StatusUnprocessableEntity, Title: "too many tags",
			Detail: fmt.Sprintf("A workspace, and a project, may have %d tags. Take some away first.", maxTags),
		}
	}
	return err
}

var taggedParameter = regexp.MustCompile(`^filter\[tagged\]\[([0-9]{1,3})\]\[(key|value)\]$`)

// taggedFilter reads the tags that a list is filtered by.
func (r *request) taggedFilter() ([]polset.TagBinding, error) {
	byIndex := map[string]polset.TagBinding{}
	for name := range r.query {
		parts := taggedParameter.FindStringSubmatch(name)
		if parts == nil {
			if strings.HasPrefix(name, "filter[tagged]") {
				return nil, badParameter(name, "The parameter must be filter[tagged][n][key] or filter[tagged][n][value].")
			}
			continue
		}
		tag := byIndex[parts[1]]
		if parts[2] == "key" {
			tag.Key = r.query.Get(name)
		} else {
			tag.Value = r.query.Get(name)
		}
		byIndex[parts[1]] = tag
	}
	if len(byIndex) > maxTags {
		return nil, badParameter("filter[tagged]", "A list is filtered by at most %d tags.", maxTags)
	}
	var tags []polset.TagBinding
	for index, tag := range byIndex {
		if tag.Key == "" {
			name := "filter[tagged][" + index + "][key]"
			return nil, badParameter(name, "%s is required.", name)
		}
		tags = append(tags, tag)
	}
	slices.SortFunc(tags, func(a, b polset.TagBinding) int { return strings.Compare(a.Key+"\n"+a.Value, b.Key+"\n"+b.Value) })
	return tags, nil
}

// tagNames reads a parameter of comma-separated names of tags.
func (r *request) tagNames(parameter string) ([]polset.TagBinding, error) {
	var tags []polset.TagBinding
	for _, name := range strings.Split(r.query.Get(parameter), ",") {
		if name = strings.TrimSpace(name); name != "" {
			tags = append(tags, polset.TagBinding{Key: name})
		}
	}
	if len(tags) > maxTags {
		return nil, badParameter(parameter, "A list is filtered by at most %d tags.", maxTags)
	}
	return tags, nil
}
