package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode"

	"github.com/polset/polset"
)

// ParameterReader finds parameters of policy sets.
type ParameterReader interface {
	Parameter(ctx context.Context, by polset.Principal, policySetID, id string) (polset.Parameter, error)
	// Parameters returns a page in the order of creation, and the count of all.
	Parameters(ctx context.Context, by polset.Principal, policySetID string, page polset.Page) ([]polset.Parameter, int, error)
}

// ParameterWriter makes, changes and removes parameters.
type ParameterWriter interface {
	// CreateParameter answers a polset.Failure of class limit for one too many.
	CreateParameter(ctx context.Context, by polset.Principal, policySetID string, draft polset.ParameterDraft) (polset.Parameter, error)
	UpdateParameter(ctx context.Context, by polset.Principal, policySetID, id string, change polset.ParameterChange) (polset.Parameter, error)
	DeleteParameter(ctx context.Context, by polset.Principal, policySetID, id string) error
}

// Parameters is what the parameter endpoints need.
type Parameters interface {
	ParameterReader
	ParameterWriter
}

// parameterAttributes is a parameter as HCP Terraform shows it. The value of a
// sensitive one is null.
type parameterAttributes struct {
	Key       string  `json:"key"`
	Value     *string `json:"value"`
	Category  string  `json:"category"`
	Sensitive bool    `json:"sensitive"`
}

type parameterDraft struct {
	Key       optional[string] `json:"key"`
	Value     optional[string] `json:"value"`
	Category  optional[string] `json:"category"`
	Sensitive optional[bool]   `json:"sensitive"`
}

const (
	parameterCategory = "policy-set"
	// HCP Terraform's limits of a variable.
	maxParameterKey   = 128
	maxParameterValue = 256 << 10
)

func (a *API) parameterRoutes() []Route {
	const (
		read   = polset.PermissionRead
		manage = polset.PermissionManagePolicies

		all = prefix + "/policy-sets/:policy_set/parameters"
		one = all + "/:parameter"
	)
	return []Route{
		{http.MethodGet, all, AccessToken, read, a.listParameters, lists("vars", parameterAttributes{}, "List the parameters of a policy set")},
		{http.MethodPost, all, AccessToken, manage, a.createParameter, creates("vars", parameterDraft{}, parameterAttributes{}, "Create a parameter")},
		{http.MethodGet, one, AccessToken, read, a.showParameter, shows("vars", parameterAttributes{}, "Show a parameter")},
		{http.MethodPatch, one, AccessToken, manage, a.updateParameter, changes("vars", parameterDraft{}, parameterAttributes{}, "Change a parameter")},
		{http.MethodDelete, one, AccessToken, manage, a.deleteParameter, answers204("Delete a parameter")},
	}
}

func parameterResource(p polset.Parameter) resource {
	attrs := parameterAttributes{Key: p.Key, Category: parameterCategory, Sensitive: p.Sensitive}
	if !p.Sensitive {
		attrs.Value = &p.Value
	}
	return resource{
		ID:            p.ID,
		Type:          "vars",
		Attributes:    attrs,
		Relationships: map[string]relation{"configurable": toOne("policy-sets", p.PolicySetID)},
		Links:         map[string]string{"self": prefix + "/policy-sets/" + p.PolicySetID + "/parameters/" + p.ID},
	}
}

// listParameters shows all where the client asks for no page, as HCP Terraform
// does.
func (a *API) listParameters(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	if !r.query.Has("page[number]") && !r.query.Has("page[size]") {
		page = polset.Page{Number: 1, Size: polset.MaxParameters}
	}
	parameters, total, err := a.Parameters.Parameters(r.ctx(), r.by, r.Param("policy_set"), page)
	if err != nil {
		return err
	}
	var data []resource
	for _, p := range parameters {
		data = append(data, parameterResource(p))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total))
}

// parameter returns the parameter that the path names.
func (a *API) parameter(r *request) (polset.Parameter, error) {
	id := r.Param("parameter")
	if !plausibleID.MatchString(id) {
		return polset.Parameter{}, polset.ErrNotFound
	}
	return a.Parameters.Parameter(r.ctx(), r.by, r.Param("policy_set"), id)
}

func (a *API) showParameter(r *request) error {
	p, err := a.parameter(r)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(parameterResource(p)))
}

func (a *API) createParameter(r *request) error {
	set, err := a.PolicySets.PolicySet(r.ctx(), r.by, r.Param("policy_set"))
	if err != nil {
		return err
	}
	in, err := decode[parameterDraft](r, "vars", "")
	if err != nil {
		return err
	}
	attrs := in.Attributes
	draft := polset.ParameterDraft{
		Key: attrs.Key.Or(""), Value: polset.NewSecret(attrs.Value.Or("")), Sensitive: attrs.Sensitive.Or(false),
	}
	wrong := checkParameter(attrs)
	if !attrs.Key.Present || attrs.Key.Null {
		wrong = append(wrong, invalid("key", "key is required."))
	}
	if !attrs.Category.Present || attrs.Category.Null {
		wrong = append(wrong, invalid("category", "category is required: %s.", parameterCategory))
	}
	if err := wrong.orNil(); err != nil {
		return err
	}
	p, err := a.Parameters.CreateParameter(r.ctx(), r.by, set.ID, draft)
	if err != nil {
		return keyTaken(err)
	}
	return r.send(http.StatusCreated, single(parameterResource(p)))
}

func (a *API) updateParameter(r *request) error {
	now, err := a.parameter(r)
	if err != nil {
		return err
	}
	in, err := decode[parameterDraft](r, "vars", now.ID)
	if err != nil {
		return err
	}
	attrs := in.Attributes
	wrong := checkParameter(attrs)
	change := polset.ParameterChange{Sensitive: attrs.Sensitive.Or(false)}
	if now.Sensitive && !attrs.Sensitive.Or(true) {
		wrong = append(wrong, invalid("sensitive", "A sensitive parameter stays sensitive; delete it and make another one."))
	}
	if key, ok := attrs.Key.Get(); ok {
		change.Key = &key
	}
	if attrs.Value.Present {
		value := polset.NewSecret(attrs.Value.Or(""))
		change.Value = &value
	}
	if err := wrong.orNil(); err != nil {
		return err
	}
	p, err := a.Parameters.UpdateParameter(r.ctx(), r.by, now.PolicySetID, now.ID, change)
	if err != nil {
		return keyTaken(err)
	}
	return r.send(http.StatusOK, single(parameterResource(p)))
}

func (a *API) deleteParameter(r *request) error {
	p, err := a.parameter(r)
	if err != nil {
		return err
	}
	if err := a.Parameters.DeleteParameter(r.ctx(), r.by, p.PolicySetID, p.ID); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

// checkParameter judges the attributes that are given. A value is never quoted.
func checkParameter(in parameterDraft) problems {
	var wrong problems
	if key, ok := in.Key.Get(); ok && (key == "" || len(key) > maxParameterKey || strings.ContainsFunc(key, unicode.IsControl)) {
		wrong = append(wrong, invalid("key", "key must be 1 to %d bytes without control characters.", maxParameterKey))
	}
	if value, ok := in.Value.Get(); ok && len(value) > maxParameterValue {
		wrong = append(wrong, invalid("value", "value must not exceed %d bytes.", maxParameterValue))
	}
	if category, ok := in.Category.Get(); ok && category != parameterCategory {
		wrong = append(wrong, invalid("category", "category must be %s.", parameterCategory))
	}
	return wrong
}

// keyTaken turns what only the rows can tell into an answer; any other error
// passes.
func keyTaken(err error) error {
	var failure *polset.Failure
	switch {
	case errors.Is(err, polset.ErrConflict):
		return invalid("key", "Key has already been taken")
	case errors.As(err, &failure) && failure.Class == polset.ClassLimit:
		return problem{Status: http.StatusUnprocessableEntity, Title: "limit exceeded", Detail: failure.Message}
	}
	return err
}
