package api

import (
	"net/http"
	"strings"

	"github.com/polset/polset"
)

// go-tfe's own tests upgrade the plan of each organization that they make
// before they touch its policy sets. polset has no plans: these two endpoints
// answer as if it had, for those tests and where the operator asks for it.

func (a *API) conformanceRoutes() []Route {
	if !a.Conformance {
		return nil
	}
	return []Route{
		{http.MethodGet, prefix + "/admin/feature-sets", AccessSiteAdmin, "", a.listFeatureSets, lists("feature-sets", featureSetAttributes{}, "List plans, for conformance tests").with("q")},
		{http.MethodPost, prefix + "/admin/organizations/:organization/subscription", AccessSiteAdmin, "", a.subscribe, answers204("Change the plan of an organization, for conformance tests").taking("subscription", struct{}{})},
	}
}

type featureSetAttributes struct {
	Name string `json:"name"`
}

// plans are those that the tests ask for.
var plans = []string{"Business", "Free", "Standard (entitlement)"}

func (a *API) listFeatureSets(r *request) error {
	var data []resource
	for _, name := range plans {
		if strings.Contains(strings.ToLower(name), strings.ToLower(r.query.Get("q"))) {
			data = append(data, resource{ID: planID(name), Type: "feature-sets", Attributes: featureSetAttributes{Name: name}})
		}
	}
	return r.send(http.StatusOK, a.list(r, data, polset.Page{Number: 1, Size: len(plans)}, len(data)))
}

func planID(name string) string {
	word, _, _ := strings.Cut(strings.ToLower(name), " ")
	return "fs-" + word
}

// subscribe changes nothing: every organization has all that polset does.
func (a *API) subscribe(r *request) error {
	if _, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization")); err != nil {
		return err
	}
	if _, err := decode[struct{}](r, "subscription", ""); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}
