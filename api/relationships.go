package api

import (
	"encoding/json"
	"net/http"
)

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
		return "", problems{malformedDocument(pointer, "The relationship must have a resource identifier, or null, as its data.")}
	}
	if relationship.Data == nil || relationship.Data.ID == "" {
		return "", nil
	}
	// go-tfe's version 2 leaves the type out, and Terraform's provider with it.
	if got := relationship.Data.Type; got != "" && got != kind {
		return "", problems{mismatch(pointer+"/data/type", "The type is %q, and this relationship takes %q.", got, kind)}
	}
	return relationship.Data.ID, nil
}

// unrelated says that what a relationship names does not exist, or is not the
// organization's.
func unrelated(name, what string) problem {
	return problem{
		Status:  http.StatusUnprocessableEntity,
		Title:   "invalid relationship",
		Detail:  "The " + what + " was not found.",
		Pointer: "/data/relationships/" + name,
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
