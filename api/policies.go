package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/polset/polset"
)

// PolicyReader finds individually managed policies.
type PolicyReader interface {
	Policy(ctx context.Context, by polset.Principal, id string) (polset.Policy, error)
	// Policies returns a page, and the count of all that the filter lets through.
	Policies(ctx context.Context, by polset.Principal, organization string, filter polset.PolicyFilter, page polset.Page) ([]polset.Policy, int, error)
	// PoliciesByID returns those of the ids that exist, in any order.
	PoliciesByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Policy, error)
}

// PolicyWriter makes, changes and removes policies.
type PolicyWriter interface {
	// CreatePolicy answers polset.ErrConflict for a name that is taken, and for
	// a policy set that takes no such policy.
	CreatePolicy(ctx context.Context, by polset.Principal, draft polset.PolicyDraft) (polset.Policy, error)
	UpdatePolicy(ctx context.Context, by polset.Principal, id string, change polset.PolicyUpdate) (polset.Policy, error)
	// DeletePolicy succeeds while policy sets hold the policy.
	DeletePolicy(ctx context.Context, by polset.Principal, id string) error
}

// PolicyUploader gives policies the code that lies in the object storage.
type PolicyUploader interface {
	UploadPolicy(ctx context.Context, by polset.Principal, id, digest string, size int64) (polset.Policy, error)
}

// Policies is what the policy endpoints need.
type Policies interface {
	PolicyReader
	PolicyWriter
	PolicyUploader
}

// policyAttributes is a policy as HCP Terraform shows it.
type policyAttributes struct {
	Name             string        `json:"name"`
	Description      *string       `json:"description"`
	Kind             string        `json:"kind"`
	Query            *string       `json:"query"`
	Enforce          []enforcement `json:"enforce"`
	EnforcementLevel string        `json:"enforcement-level"`
	PolicySetCount   int           `json:"policy-set-count"`
	UpdatedAt        iso8601       `json:"updated-at"` // of the code
}

// An enforcement is how clients said an enforcement level until 2022.
type enforcement struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
}

type policyDraft struct {
	Name             optional[string]             `json:"name"`
	Description      optional[string]             `json:"description"`
	Kind             optional[string]             `json:"kind"`
	Query            optional[string]             `json:"query"`
	EnforcementLevel optional[string]             `json:"enforcement-level"`
	Enforce          optional[[]enforcementDraft] `json:"enforce"`
}

type enforcementDraft struct {
	Path optional[string] `json:"path"`
	Mode optional[string] `json:"mode"`
}

const maxPolicyQuery = 1024

func (a *API) policyRoutes() []Route {
	const (
		read   = polset.PermissionRead
		manage = polset.PermissionManagePolicies

		org    = prefix + "/organizations/:organization/policies"
		policy = prefix + "/policies/:policy"
	)
	return []Route{
		{http.MethodGet, org, AccessToken, read, a.listPolicies, lists("policies", policyAttributes{}, "List policies").with("search[name]", "filter[kind]", "sort").including("policy_sets")},
		{http.MethodPost, org, AccessToken, manage, a.createPolicy, creates("policies", policyDraft{}, policyAttributes{}, "Create a policy")},
		{http.MethodGet, policy, AccessToken, read, a.showPolicy, shows("policies", policyAttributes{}, "Show a policy").including("policy_sets")},
		{http.MethodPatch, policy, AccessToken, manage, a.updatePolicy, changes("policies", policyDraft{}, policyAttributes{}, "Change a policy")},
		{http.MethodDelete, policy, AccessToken, manage, a.deletePolicy, answers204("Delete a policy")},
		{http.MethodPut, policy + "/upload", AccessToken, manage, a.uploadPolicy, takesBytesOf("policies", policyAttributes{}, "Upload the code of a policy")},
		{http.MethodGet, policy + "/download", AccessToken, read, a.downloadPolicy, sendsBytes("Download the code of a policy")},
	}
}

func policyResource(p polset.Policy) resource {
	self := prefix + "/policies/" + p.ID
	attrs := policyAttributes{
		Name:             p.Name,
		Description:      orNull(p.Description),
		Kind:             string(p.Kind),
		Query:            orNull(p.Query),
		Enforce:          []enforcement{},
		EnforcementLevel: p.EnforcementLevel,
		PolicySetCount:   len(p.PolicySetIDs),
		UpdatedAt:        iso8601(p.UploadedAt),
	}
	links := map[string]string{"self": self, "upload": self + "/upload"}
	// A policy without code enforces nothing yet.
	if p.Digest != "" {
		attrs.Enforce = append(attrs.Enforce, enforcement{Path: p.File(), Mode: p.EnforcementLevel})
		links["download"] = self + "/download"
	}
	return resource{
		ID:         p.ID,
		Type:       "policies",
		Attributes: attrs,
		Relationships: map[string]relation{
			"organization": toOne("organizations", p.Organization),
			"policy-sets":  toMany("policy-sets", p.PolicySetIDs...),
		},
		Links: links,
	}
}

func (a *API) listPolicies(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	want, err := r.include("policy_sets")
	if err != nil {
		return err
	}
	filter, err := r.policyFilter()
	if err != nil {
		return err
	}
	policies, total, err := a.Policies.Policies(r.ctx(), r.by, r.Param("organization"), filter, page)
	if err != nil {
		return err
	}
	included, err := a.includedPolicySets(r, want, policies...)
	if err != nil {
		return err
	}
	var data []resource
	for _, p := range policies {
		data = append(data, policyResource(p))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total, included...))
}

func (r *request) policyFilter() (polset.PolicyFilter, error) {
	filter := polset.PolicyFilter{
		Search: r.query.Get("search[name]"), Kind: polset.Kind(r.query.Get("filter[kind]")), Sort: polset.PolicySort(r.query.Get("sort")),
	}
	if len(filter.Search) > maxName {
		return filter, badParameter("search[name]", "search[name] must not exceed %d bytes.", maxName)
	}
	switch filter.Kind {
	case "", polset.KindSentinel, polset.KindOPA, "tfpolicy": // nothing is of the last one
	default:
		return filter, badParameter("filter[kind]", "filter[kind] must be sentinel or opa.")
	}
	switch filter.Sort {
	case "", polset.SortName, polset.SortNameDescending, polset.SortUpdated, polset.SortUpdatedDescending:
	default:
		return filter, badParameter("sort", "sort must be name, -name, updated-at or -updated-at.")
	}
	return filter, nil
}

// includedPolicySets finds the sets of all policies at once. The policies are
// of one organization.
func (a *API) includedPolicySets(r *request, want includes, policies ...polset.Policy) ([]resource, error) {
	if !want["policy_sets"] || len(policies) == 0 {
		return nil, nil
	}
	var ids []string
	for _, p := range policies {
		ids = append(ids, p.PolicySetIDs...)
	}
	slices.Sort(ids)
	sets, err := a.policySetsByID(r, policies[0].Organization, slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	var included []resource
	for _, set := range sets {
		included = append(included, a.policySetResource(set, false))
	}
	return included, nil
}

// policySetsByID returns those of an organization's policy sets that exist, in
// the order of their creation.
func (a *API) policySetsByID(r *request, organization string, ids []string) (sets []polset.PolicySet, err error) {
	for chunk := range slices.Chunk(ids, 1000) {
		list, _, err := a.PolicySets.PolicySets(r.ctx(), r.by, organization, polset.PolicySetFilter{IDs: chunk}, polset.Page{Number: 1, Size: len(chunk)})
		if err != nil {
			return nil, err
		}
		sets = append(sets, list...)
	}
	return sets, nil
}

func (a *API) showPolicy(r *request) error {
	want, err := r.include("policy_sets")
	if err != nil {
		return err
	}
	p, err := a.Policies.Policy(r.ctx(), r.by, r.Param("policy"))
	if err != nil {
		return err
	}
	included, err := a.includedPolicySets(r, want, p)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(policyResource(p), included...))
}

func (a *API) createPolicy(r *request) error {
	// Before the body is judged, as for every tenant.
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	in, err := decode[policyDraft](r, "policies", "")
	if err != nil {
		return err
	}
	draft, err := newPolicyDraft(org.Name, in)
	if err != nil {
		return err
	}
	if err := a.checkJoins(r, draft); err != nil {
		return err
	}
	p, err := a.Policies.CreatePolicy(r.ctx(), r.by, draft)
	if errors.Is(err, polset.ErrConflict) || errors.Is(err, polset.ErrNotFound) {
		// Of a policy set that changed meanwhile the client is told as before.
		if changed := a.checkJoins(r, draft); changed != nil {
			return changed
		}
	}
	if err != nil {
		return nameTaken(err)
	}
	return r.send(http.StatusCreated, single(policyResource(p)))
}

// newPolicyDraft judges a policy about to be created.
func newPolicyDraft(organization string, in draft[policyDraft]) (polset.PolicyDraft, error) {
	attrs := in.Attributes
	d := polset.PolicyDraft{
		Organization: organization,
		Name:         attrs.Name.Or(""),
		Description:  attrs.Description.Or(""),
		Kind:         polset.Kind(attrs.Kind.Or(string(polset.KindSentinel))),
	}
	wrong := checkName(&d.Name, maxName)
	if d.Kind != polset.KindSentinel && d.Kind != polset.KindOPA {
		return d, append(wrong, invalid("kind", "kind must be sentinel or opa."))
	}
	// Of Sentinel a query is ignored, as in an update.
	if d.Kind == polset.KindOPA {
		d.Query = attrs.Query.Or("")
		wrong = append(wrong, checkQuery(d.Query)...)
	}
	wrong = append(wrong, checkDescription(&d.Description)...)
	level, problems := enforcementLevel(attrs, d.Kind, d.Kind.File(d.Name))
	switch wrong = append(wrong, problems...); {
	case level != nil:
		d.EnforcementLevel = *level
	case len(problems) == 0:
		wrong = append(wrong, invalid("enforcement-level", "enforcement-level is required: one of %s.", strings.Join(d.Kind.Levels(), ", ")))
	}
	d.PolicySetIDs, problems = joined(in.Relationships)
	return d, append(wrong, problems...).orNil()
}

// enforcementLevel reads the level of a policy in either form; nil where there
// is none. A path that is not the policy's gets the default of its kind.
func enforcementLevel(attrs policyDraft, kind polset.Kind, file string) (*string, problems) {
	list, old := attrs.Enforce.Get()
	level, given := attrs.EnforcementLevel.Get()
	at := "enforcement-level"
	switch {
	case old && given:
		return nil, problems{invalid("enforce", "enforce and enforcement-level exclude each other; give enforcement-level only.")}
	case old && len(list) != 1:
		return nil, problems{invalid("enforce", "enforce must have exactly one element: a policy is one file.")}
	case old:
		at = "enforce/0/mode"
		level = defaultMode(kind)
		if path := list[0].Path.Or(file); path == file {
			level = list[0].Mode.Or(level)
		}
	case !given:
		return nil, nil
	}
	if !slices.Contains(kind.Levels(), level) {
		return nil, problems{invalid(at, "%s must be one of %s for a policy of kind %s.", strings.ReplaceAll(at, "/", "."), strings.Join(kind.Levels(), ", "), kind)}
	}
	return &level, nil
}

// defaultMode is HCP Terraform's where enforce names another file, or no mode.
func defaultMode(kind polset.Kind) string {
	if kind == polset.KindOPA {
		return "advisory"
	}
	return "hard-mandatory"
}

func checkQuery(query string) problems {
	if strings.TrimSpace(query) == "" {
		return problems{invalid("query", "query is required of a policy of kind opa, such as data.terraform.policies.example.deny.")}
	}
	if len(query) > maxPolicyQuery || strings.ContainsFunc(query, unicode.IsControl) {
		return problems{invalid("query", "query must be one line of at most %d bytes.", maxPolicyQuery)}
	}
	return nil
}

// joined reads the policy sets that a new policy shall be a member of; none
// where the document leaves them out.
func joined(relationships map[string]json.RawMessage) ([]string, problems) {
	const pointer = "/data/relationships/policy-sets"
	raw, ok := relationships["policy-sets"]
	if !ok {
		return nil, nil
	}
	ids, wrong := readRelationship(pointer, raw, "policy-sets")
	if len(ids) > maxLinkage {
		return nil, problems{malformedDocument(pointer+"/data", fmt.Sprintf("%s holds %d resource identifiers; at most %d are taken at once.", member(pointer+"/data"), len(ids), maxLinkage))}
	}
	return ids, wrong
}

// checkJoins says which of the policy sets that a new policy shall be a member
// of cannot take it.
func (a *API) checkJoins(r *request, draft polset.PolicyDraft) error {
	var plausible []string // nothing else has an id
	for _, id := range draft.PolicySetIDs {
		if plausibleID.MatchString(id) {
			plausible = append(plausible, id)
		}
	}
	sets, err := a.policySetsByID(r, draft.Organization, plausible)
	if err != nil {
		return err
	}
	var wrong problems
	for i, id := range draft.PolicySetIDs {
		refuse := func(detail string) {
			at := "/data/relationships/policy-sets/data/" + strconv.Itoa(i)
			wrong = append(wrong, problem{Status: http.StatusUnprocessableEntity, Title: "invalid relationship", Detail: member(at) + ": " + detail, Pointer: at})
		}
		n := slices.IndexFunc(sets, func(set polset.PolicySet) bool { return set.ID == id })
		switch {
		case n < 0:
			refuse("The policy set was not found.")
		case sets[n].Kind != draft.Kind:
			refuse(fmt.Sprintf("The policy set is of kind %s, and the policy of kind %s.", sets[n].Kind, draft.Kind))
		case sets[n].VCS != nil:
			refuse("The policy set follows a repository, and so cannot hold individually managed policies.")
		case sets[n].NewestVersionID != "":
			refuse("The policy set has versions, which would be in force in the place of individually managed policies.")
		}
	}
	return wrong.orNil()
}

func (a *API) updatePolicy(r *request) error {
	id := r.Param("policy")
	now, err := a.Policies.Policy(r.ctx(), r.by, id)
	if err != nil {
		return err
	}
	in, err := decode[policyDraft](r, "policies", id)
	if err != nil {
		return err
	}
	change, err := policyUpdate(now, in.Attributes)
	if err != nil {
		return err
	}
	p, err := a.Policies.UpdatePolicy(r.ctx(), r.by, id, change)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(policyResource(p)))
}

// policyUpdate judges an update. The name is ignored, and of a Sentinel policy
// the query too, as HCP Terraform does.
func policyUpdate(now polset.Policy, attrs policyDraft) (change polset.PolicyUpdate, err error) {
	var wrong problems
	if kind, ok := attrs.Kind.Get(); ok && polset.Kind(kind) != now.Kind {
		wrong = append(wrong, invalid("kind", "kind cannot be changed; make another policy."))
	}
	if attrs.Description.Present {
		description := attrs.Description.Or("")
		change.Description = &description
		wrong = append(wrong, checkDescription(&description)...)
	}
	if query, ok := attrs.Query.Get(); ok && now.Kind == polset.KindOPA {
		change.Query = &query
		wrong = append(wrong, checkQuery(query)...)
	}
	level, problems := enforcementLevel(attrs, now.Kind, now.File())
	change.EnforcementLevel = level
	return change, append(wrong, problems...).orNil()
}

func (a *API) deletePolicy(r *request) error {
	if err := a.Policies.DeletePolicy(r.ctx(), r.by, r.Param("policy")); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}
