package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/polset/polset"
)

// PolicySetMembers relates policy sets to what they hold and guard. What is a
// member already, or none, is passed over; for what cannot be one the error is
// a polset.RefusedError, and nothing changed.
type PolicySetMembers interface {
	AddMembers(ctx context.Context, by polset.Principal, policySetID string, relation polset.Relation, ids []string) error
	RemoveMembers(ctx context.Context, by polset.Principal, policySetID string, relation polset.Relation, ids []string) error
}

const (
	// maxMembers bounds how many members one request names for one relation.
	maxMembers = 1000
	// maxMembersBody holds as many of them as the whole resources that go-tfe
	// sends, of which only the identifiers are read.
	maxMembersBody = 8 << 20
)

// memberKinds are the types of the members.
var memberKinds = map[polset.Relation]string{
	polset.RelationPolicies:            "policies",
	polset.RelationWorkspaces:          "workspaces",
	polset.RelationProjects:            "projects",
	polset.RelationWorkspaceExclusions: "workspaces",
	polset.RelationProjectExclusions:   "projects",
}

func (a *API) memberRoutes() []Route {
	const set = prefix + "/policy-sets/:policy_set"
	endpoints := []struct {
		relation    polset.Relation
		add, remove string
	}{
		{polset.RelationPolicies, "Add policies to a policy set", "Remove policies from a policy set"},
		{polset.RelationWorkspaces, "Attach a policy set to workspaces", "Detach a policy set from workspaces"},
		{polset.RelationProjects, "Attach a policy set to projects", "Detach a policy set from projects"},
		{polset.RelationWorkspaceExclusions, "Keep a policy set off workspaces", "Keep a policy set off workspaces no longer"},
		{polset.RelationProjectExclusions, "Keep a policy set off projects", "Keep a policy set off projects no longer"},
	}
	routes := make([]Route, 0, 2*len(endpoints))
	for _, c := range endpoints {
		pattern, kind := set+"/relationships/"+string(c.relation), memberKinds[c.relation]
		routes = append(routes,
			Route{http.MethodPost, pattern, AccessToken, polset.PermissionManagePolicies, a.changeMembers(c.relation, PolicySetMembers.AddMembers), relates(kind, c.add)},
			Route{http.MethodDelete, pattern, AccessToken, polset.PermissionManagePolicies, a.changeMembers(c.relation, PolicySetMembers.RemoveMembers), relates(kind, c.remove)})
	}
	return routes
}

type memberChange func(s PolicySetMembers, ctx context.Context, by polset.Principal, policySetID string, relation polset.Relation, ids []string) error

func (a *API) changeMembers(relation polset.Relation, change memberChange) func(*request) error {
	return func(r *request) error {
		id := r.Param("policy_set")
		// Before the body is judged, as for every tenant.
		if _, err := a.PolicySets.PolicySet(r.ctx(), r.by, id); err != nil {
			return err
		}
		body, err := readBodyOf(r, maxMembersBody)
		if err != nil {
			return err
		}
		data, err := dataOf(body)
		if err != nil {
			return err
		}
		ids, wrong := readMembers("/data", data, memberKinds[relation])
		if err := wrong.orNil(); err != nil {
			return err
		}
		if err := change(a.PolicySets, r.ctx(), r.by, id, relation, ids); err != nil {
			return refusedLinkage(err)
		}
		return r.NoContent(http.StatusNoContent)
	}
}

// readMembers reads the ids of resources or of their identifiers; nothing else
// of them is looked at.
func readMembers(pointer string, data json.RawMessage, kind string) ([]string, problems) {
	var members []identifier
	if err := json.Unmarshal(data, &members); err != nil || bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return nil, problems{malformedDocument(pointer, member(pointer)+" must be an array of resource identifiers.")}
	}
	if len(members) > maxMembers {
		return nil, problems{malformedDocument(pointer, fmt.Sprintf("%s holds %d resource identifiers; at most %d are taken at once.", member(pointer), len(members), maxMembers))}
	}
	var wrong problems
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.ID
		if m.Type != kind {
			at := fmt.Sprintf("%s/%d/type", pointer, i)
			wrong = append(wrong, malformedDocument(at, fmt.Sprintf("%s must be %q.", member(at), kind)))
		}
	}
	return ids, wrong
}

// readRelationship is readMembers of a relationship in a resource's document.
func readRelationship(pointer string, raw json.RawMessage, kind string) ([]string, problems) {
	var relationship struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(raw, &relationship); err != nil || relationship.Data == nil {
		return nil, problems{malformedDocument(pointer, member(pointer)+" must have an array of resource identifiers as its data.")}
	}
	return readMembers(pointer+"/data", relationship.Data, kind)
}

// relatedMembers reads the relations that a document of a policy set has. Those
// that it leaves out are not in the map.
func relatedMembers(relationships map[string]json.RawMessage) (map[polset.Relation][]string, problems) {
	members := map[polset.Relation][]string{}
	var wrong problems
	for _, relation := range polset.Relations() {
		raw, ok := relationships[string(relation)]
		if !ok {
			continue
		}
		ids, problems := readRelationship("/data/relationships/"+string(relation), raw, memberKinds[relation])
		members[relation], wrong = ids, append(wrong, problems...)
	}
	return members, wrong
}

// refusedDocument points from what the store refused into the document of a
// policy set; any other error passes.
func refusedDocument(err error) error {
	var refused polset.RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	return refusals(refused, func(r polset.Refusal) string {
		if slices.Contains(polset.Relations(), polset.Relation(r.Field)) {
			return "/data/relationships/" + r.Field + "/data"
		}
		return "/data/attributes/" + r.Field
	})
}

// refusedLinkage is refusedDocument for a request that names members, or tag
// selectors, and nothing else.
func refusedLinkage(err error) error {
	var refused polset.RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	return refusals(refused, func(polset.Refusal) string { return "/data" })
}

func refusals(refused polset.RefusedError, pointer func(polset.Refusal) string) problems {
	list := make(problems, len(refused))
	for i, r := range refused {
		list[i] = problem{Status: http.StatusUnprocessableEntity, Title: "invalid relationship", Detail: r.Message, Pointer: pointer(r)}
		if !slices.Contains(polset.Relations(), polset.Relation(r.Field)) {
			list[i].Title = "invalid attribute"
		}
		if r.Index >= 0 {
			list[i].Pointer += fmt.Sprintf("/%d", r.Index)
			list[i].Detail = member(list[i].Pointer) + ": " + r.Message
		}
	}
	return list
}
