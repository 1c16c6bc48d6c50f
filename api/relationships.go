package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// maxLinkage bounds how many resources one request relates.
const maxLinkage = 100

// decodeLinkage reads the ids of a relationship's request.
func decodeLinkage(r *request, kind string) ([]string, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	data, err := dataOf(body)
	if err != nil {
		return nil, err
	}
	ids, wrong := linkage(data, "/data", kind)
	return ids, wrong.orNil()
}

// toManyOf returns the ids of the resources that a request relates to; nil
// where it leaves the relationship out.
func toManyOf(relationships map[string]json.RawMessage, name, kind string) ([]string, problems) {
	raw, ok := relationships[name]
	if !ok {
		return nil, nil
	}
	pointer := "/data/relationships/" + name
	var relationship struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(raw, &relationship); err != nil || relationship.Data == nil {
		return nil, problems{malformedDocument(pointer, member(pointer)+" must have an array of resource identifiers as its data.")}
	}
	return linkage(relationship.Data, pointer+"/data", kind)
}

// linkage reads the ids in an array. Clients send whole resources where
// identifiers would do; nothing else is read.
func linkage(data json.RawMessage, pointer, kind string) ([]string, problems) {
	var members []identifier
	if err := json.Unmarshal(data, &members); err != nil || bytes.Equal(data, []byte("null")) {
		return nil, problems{malformedDocument(pointer, member(pointer)+" must be an array of resource identifiers.")}
	}
	if len(members) > maxLinkage {
		return nil, problems{malformedDocument(pointer, fmt.Sprintf("%s holds %d resource identifiers; at most %d are taken at once.", member(pointer), len(members), maxLinkage))}
	}
	ids := make([]string, len(members))
	var wrong problems
	for i, m := range members {
		ids[i] = m.ID
		wrong = append(wrong, checkType(fmt.Sprintf("%s/%d", pointer, i), m.Type, kind)...)
	}
	return ids, wrong
}

// toOneOf returns the id of the resource that a request relates to, "" where
// there is none.
func toOneOf(relationships map[string]json.RawMessage, name, kind string) (string, problems) {
	raw, ok := relationships[name]
	if !ok {
		return "", nil
	}
	var relationship struct {
		Data *identifier `json:"data"`
	}
	pointer := "/data/relationships/" + name
	if err := json.Unmarshal(raw, &relationship); err != nil {
		return "", problems{malformedDocument(pointer, member(pointer)+" must have a resource identifier, or null, as its data.")}
	}
	if relationship.Data == nil || relationship.Data.ID == "" {
		return "", nil
	}
	// go-tfe's version 2 leaves the type out, and Terraform's provider with it.
	if got := relationship.Data.Type; got != "" && got != kind {
		pointer += "/data/type"
		return "", problems{mismatch(pointer, "%s is %q, and this relationship takes %q.", member(pointer), got, kind)}
	}
	return relationship.Data.ID, nil
}

// unrelated says that what a relationship names does not exist, or is not the
// organization's.
func unrelated(name, what string) problem {
	pointer := "/data/relationships/" + name
	return problem{
		Status:  http.StatusUnprocessableEntity,
		Title:   "invalid relationship",
		Detail:  member(pointer) + ": The " + what + " was not found.",
		Pointer: pointer,
	}
}

// noAgentPool refuses a relationship with an agent pool: there is none.
func noAgentPool(relationships map[string]json.RawMessage) problems {
	const name = "default-agent-pool"
	id, wrong := toOneOf(relationships, name, "agent-pools")
	if id != "" {
		wrong = append(wrong, unrelated(name, "agent pool"))
	}
	return wrong
}
