package api

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/polset/polset"
)

// scalr is where Scalr's API has its policy checks. polset shows all checks
// there, whatever HCP Terraform calls them.
const scalr = "/api/iacp/v3"

func (a *API) scalrRoutes() []Route {
	const (
		read     = polset.PermissionRead
		override = polset.PermissionManageOverrides

		one = scalr + "/policy-checks/:check"
	)
	return []Route{
		{http.MethodGet, scalr + "/runs/:run/policy-checks", AccessToken, read, inProfile(a.listScalrChecks), answersPlain(scalrList{}, "List the policy checks of a run, as Scalr does").with("page[number]", "page[size]").forbidding()},
		{http.MethodGet, one, AccessToken, read, inProfile(a.showScalrCheck), answersPlain(scalrDocument{}, "Show a policy check, as Scalr does").forbidding()},
		{http.MethodGet, one + "/output", AccessToken, read, inProfile(a.showScalrOutput), redirects("Read what a policy check came to, as Scalr does")},
		{http.MethodPost, one + "/actions/override", AccessToken, override, inProfile(a.overrideScalrCheck), answersPlain(scalrDocument{}, "Override the soft failure of a policy check, as Scalr does").takingPlain(overrideComment{})},
	}
}

// scalrDocument is Scalr's top level: it has all of its members always.
type scalrDocument struct {
	Data     scalrCheck `json:"data"`
	Included *struct{}  `json:"included"`
	Meta     *struct{}  `json:"meta"`
}

type scalrList struct {
	Data     []scalrCheck `json:"data"`
	Included *struct{}    `json:"included"`
	Links    pageLinks    `json:"links"`
	Meta     meta         `json:"meta"`
}

type scalrCheck struct {
	ID            string               `json:"id"`
	Type          string               `json:"type"`
	Attributes    scalrCheckAttributes `json:"attributes"`
	Relationships struct{}             `json:"relationships"`
	Links         scalrLinks           `json:"links"`
}

type scalrLinks struct {
	Output string `json:"output"`
	Self   string `json:"self"`
}

type scalrCheckAttributes struct {
	Result           *scalrResult           `json:"result"`
	Status           string                 `json:"status"`
	StatusTimestamps map[string]string      `json:"status-timestamps"`
	Permissions      policyCheckPermissions `json:"permissions"`
	ErrorMessage     *string                `json:"error-message,omitempty"`
}

type scalrResult struct {
	checkCounts
	Policies []checkedPolicy `json:"policies"`
}

// scalrResource is a check with all that its policy sets say. Its links are
// absolute.
func (a *API) scalrResource(by polset.Principal, c polset.Check, outcomes []polset.PolicySetOutcome) scalrCheck {
	_, suffix, _ := strings.Cut(c.ID, "-")
	id := scalrCheckPrefix + "-" + suffix
	self := a.PublicURL + scalr + "/policy-checks/" + id
	shown := scalrCheck{
		ID:   id,
		Type: "policy-checks",
		Attributes: scalrCheckAttributes{
			Status:           policyCheckStatus(c),
			StatusTimestamps: scalrTimestamps(policyCheckTimes(c)),
			Permissions:      policyCheckPermissions{CanOverride: by.Can(polset.PermissionManageOverrides)},
			ErrorMessage:     orNull(checkError(c, outcomes)),
		},
		Links: scalrLinks{Output: self + "/output", Self: self},
	}
	if hasResult(c) {
		shown.Attributes.Result = &scalrResult{countsOf(c), checkedPolicies(outcomes)}
	}
	return shown
}

// scalrTimestamps are statusTimestamps as Scalr writes them, with a Z.
func scalrTimestamps(at map[string]time.Time) map[string]string {
	shown := make(map[string]string, len(at))
	for name, t := range at {
		if !t.IsZero() {
			shown[name] = t.UTC().Format("2006-01-02T15:04:05Z")
		}
	}
	return shown
}

// inProfile tells a client that the form it prefers is the one that it gets, if
// there is such a form.
func inProfile(handle func(*request) error) func(*request) error {
	return func(r *request) error {
		const preview = "profile=preview"
		for _, preference := range strings.Split(strings.Join(r.Request().Header.Values("Prefer"), ","), ",") {
			preference, _, _ = strings.Cut(preference, ";")
			preference = strings.NewReplacer(" ", "", "\t", "", `"`, "").Replace(preference)
			if strings.EqualFold(preference, preview) {
				r.Response().Header().Set("Preference-Applied", preview)
			}
		}
		return handle(r)
	}
}

// scalrCheck finds a check by Scalr's id, which does not say what HCP Terraform
// calls it.
func (a *API) scalrCheck(r *request) (c polset.Check, err error) {
	err = polset.ErrNotFound
	for _, prefix := range []string{evaluationPrefix, policyCheckPrefix} {
		id, ok := renamed(r.Param("check"), scalrCheckPrefix, prefix)
		if !ok {
			break
		}
		if c, err = a.Checks.Check(r.ctx(), r.by, id); !errors.Is(err, polset.ErrNotFound) {
			break
		}
	}
	return c, err
}

// sendScalr answers with a check.
func (a *API) sendScalr(r *request, c polset.Check) error {
	outcomes, err := a.outcomesOf(r.ctx(), r.by, c)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, scalrDocument{Data: a.scalrResource(r.by, c, outcomes)})
}

func (a *API) listScalrChecks(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	_, checks, err := a.runWithChecks(r, r.Param("run"))
	if err != nil {
		return err
	}
	paged := a.list(r, nil, page, len(checks))
	shown := scalrList{Data: []scalrCheck{}, Links: *paged.Links, Meta: *paged.Meta}
	for _, c := range cut(checks, page) {
		outcomes, err := a.outcomesOf(r.ctx(), r.by, c)
		if err != nil {
			return err
		}
		shown.Data = append(shown.Data, a.scalrResource(r.by, c, outcomes))
	}
	return r.send(http.StatusOK, shown)
}

func (a *API) showScalrCheck(r *request) error {
	c, err := a.scalrCheck(r)
	if err != nil {
		return err
	}
	return a.sendScalr(r, c)
}

// showScalrOutput sends the client on to a link that carries its own proof.
func (a *API) showScalrOutput(r *request) error {
	c, err := a.scalrCheck(r)
	if err != nil {
		return err
	}
	return r.Redirect(http.StatusFound, a.objectURL(link{Operation: linkGet, Kind: "policy-checks", ID: c.ID, By: r.by.Actor}))
}

func (a *API) overrideScalrCheck(r *request) error {
	c, err := a.scalrCheck(r)
	if err != nil {
		return err
	}
	overridden, err := a.override(r, "policy check", policyCheckStatus(c), c)
	if err != nil {
		return err
	}
	return a.sendScalr(r, overridden[0])
}
