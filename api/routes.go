package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// Access is who may use a route.
type Access string

// The kinds of access.
const (
	// AccessPublic needs no token. Object links carry their own proof.
	AccessPublic Access = "public"
	// AccessToken needs a token that holds the route's permission.
	AccessToken Access = "token"
	// AccessSiteAdmin needs a site admin's token.
	AccessSiteAdmin Access = "site-admin"
)

// A Route is one row of the API's route table.
type Route struct {
	Method  string
	Pattern string // in Echo's form
	Access  Access
	// Permission is what the token must hold where Access is AccessToken.
	Permission polset.Permission

	handle    func(*request) error
	operation operation
}

const prefix = "/api/v2"

// table lists every endpoint. A tenant route that is missing from it does not
// exist, and what is in it is covered by the isolation test.
func (a *API) table() []Route {
	return slices.Concat(
		a.publicRoutes(), a.bundleRoutes(), a.organizationRoutes(), a.supportRoutes(), a.authenticationTokenRoutes(),
		a.oauthClientRoutes(), a.oauthTokenRoutes(), a.installationRoutes(),
		a.policySetRoutes(), a.memberRoutes(), a.tagSelectorRoutes(), a.parameterRoutes(), a.policyRoutes(),
		a.policyCheckRoutes(), a.taskStageRoutes(), a.policyEvaluationRoutes(), a.planRoutes(), a.scalrRoutes(),
	)
}

// publicRoutes are those that need no token.
func (a *API) publicRoutes() []Route {
	return []Route{
		{http.MethodGet, "/.well-known/terraform.json", AccessPublic, "", a.discover, answersJSON(discovery{}, "Service discovery for Terraform")},
		{http.MethodHead, "/.well-known/terraform.json", AccessPublic, "", a.discover, answersJSON(discovery{}, "Service discovery for Terraform")},
		{http.MethodGet, openAPIPattern, AccessPublic, "", a.describe, answersJSON(map[string]any{}, "This description")},
		{http.MethodGet, prefix + "/ping", AccessPublic, "", a.ping, answers204("Tell that polset is here")},
		{http.MethodGet, objectPattern, AccessPublic, "", a.downloadObject, sendsBytes("Download an object by its link").with("offset", "limit")},
		{http.MethodHead, objectPattern, AccessPublic, "", a.downloadObject, sendsBytes("Download an object by its link").with("offset", "limit")},
		{http.MethodPut, objectPattern, AccessPublic, "", a.uploadObject, takesBytes("Upload an object by its link")},
	}
}

// policySetRoutes are those of policy sets, of their versions and of what
// became of commits.
func (a *API) policySetRoutes() []Route {
	const (
		read   = polset.PermissionRead
		manage = polset.PermissionManagePolicies

		org     = prefix + "/organizations/:organization"
		set     = prefix + "/policy-sets/:policy_set"
		version = prefix + "/policy-set-versions/:version"
	)
	return []Route{
		{http.MethodGet, org + "/policy-sets", AccessToken, read, a.listPolicySets, lists("policy-sets", policySetAttributes{}, "List policy sets").with("search[name]", "filter[kind]", "filter[versioned]").including(policySetIncludes...)},
		{http.MethodPost, org + "/policy-sets", AccessToken, manage, a.createPolicySet, creates("policy-sets", policySetDraft{}, policySetAttributes{}, "Create a policy set")},
		{http.MethodGet, set, AccessToken, read, a.showPolicySet, shows("policy-sets", policySetAttributes{}, "Show a policy set").including(policySetIncludes...)},
		{http.MethodPatch, set, AccessToken, manage, a.updatePolicySet, changes("policy-sets", policySetDraft{}, policySetAttributes{}, "Change a policy set")},
		{http.MethodDelete, set, AccessToken, manage, a.deletePolicySet, answers204("Delete a policy set")},
		{http.MethodPost, set + "/actions/ingest", AccessToken, manage, a.ingest, shows("policy-set-ingestions", ingestionAttributes{}, "Carry a commit into a policy set once more").answering(http.StatusAccepted).taking("policy-set-ingestions", ingestDraft{}).optionally()},
		{http.MethodPost, set + "/actions/rotate-webhook-secret", AccessToken, manage, a.rotateWebhookSecret, shows("policy-sets", policySetAttributes{}, "Give the repository's webhook a new secret")},
		{http.MethodGet, set + "/versions", AccessToken, read, a.listVersions, lists("policy-set-versions", versionAttributes{}, "List versions, the newest first").with("filter[status]", "filter[commit-sha]", "filter[source]")},
		{http.MethodPost, set + "/versions", AccessToken, manage, a.createVersion, shows("policy-set-versions", versionAttributes{}, "Create a version to upload an archive to").answering(http.StatusCreated)},
		{http.MethodGet, set + "/ingestions", AccessToken, read, a.listIngestions, lists("policy-set-ingestions", ingestionAttributes{}, "List what became of commits, the newest first").with("filter[status]", "filter[commit-sha]")},
		{http.MethodGet, version, AccessToken, read, a.showVersion, shows("policy-set-versions", versionAttributes{}, "Show a version").including("policy_set")},
		{http.MethodGet, version + "/download", AccessToken, read, a.downloadVersion, redirects("Download the archive of a version")},
		{http.MethodGet, prefix + "/organization/audit-trail", AccessToken, read, a.listAuditTrail, answersJSON(auditTrail{}, "List audit events, the newest first").with("page[number]", "page[size]", "since", "organization")},
	}
}

// supportRoutes are those of what policy sets guard, and of the site.
func (a *API) supportRoutes() []Route {
	return slices.Concat(a.projectRoutes(), a.workspaceRoutes(), a.tagRelationshipRoutes(), a.configurationRoutes(), a.runRoutes(),
		a.toolRoutes(), a.accountRoutes(), a.conformanceRoutes())
}

// Routes returns the route table, for tests that must reach every route.
func (a *API) Routes() []Route { return append([]Route(nil), a.routes...) }

// Stop answers the requests that wait for something, and those to come at once.
func (a *API) Stop() { a.watch.stop() }

// Register adds the routes to e, and answers in JSON:API form for whatever
// else is asked below /api/v2, or below Scalr's.
func (a *API) Register(e *echo.Echo) {
	for _, route := range a.routes {
		e.Add(route.Method, route.Pattern, a.serve(route))
	}
	// A known path with another method would otherwise get Echo's own 405,
	// which is no JSON:API document; HCP Terraform answers 404.
	for _, route := range a.routes {
		other := Route{Pattern: route.Pattern, Access: AccessPublic, handle: notFound}
		if route.Pattern == objectPattern {
			other.handle = refuseObject
		}
		e.RouteNotFound(route.Pattern, a.serve(other))
	}
	for _, pattern := range []string{prefix, prefix + "/*", scalr, scalr + "/*"} {
		e.RouteNotFound(pattern, a.serve(Route{Pattern: pattern, Access: AccessPublic, handle: notFound}))
	}
}

func notFound(*request) error { return polset.ErrNotFound }

// A request is one HTTP request with its principal.
type request struct {
	echo.Context
	by        polset.Principal
	query     url.Values
	documents *places // where a large body finds one
}

// ctx is the request's context: it ends when the client goes away.
func (r *request) ctx() context.Context { return r.Request().Context() }

// serve is the way of every request: identify, authenticate, permit, handle,
// and turn an error into a document. Nothing is left to Echo's error handler.
func (a *API) serve(route Route) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		header := c.Response().Header()
		id := header.Get(echo.HeaderXRequestID)
		if id == "" {
			id = uuid.NewString()
			header.Set(echo.HeaderXRequestID, id)
		}
		header.Set(echo.HeaderXContentTypeOptions, "nosniff")
		header.Set("Cache-Control", "no-store")

		r := &request{Context: c, documents: a.documents}
		err := a.handle(route, r)
		if errors.Is(err, polset.ErrNotFound) && route.Refusal() == http.StatusForbidden {
			err = errForbidden
		}
		if err != nil {
			a.answer(r, id, err)
		}
		a.record(route, r, id, time.Since(began), err)
		return nil
	}
}

// handle runs the route's handler. A panic becomes an error: one broken
// request must not take the others down.
func (a *API) handle(route Route, r *request) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if abort, ok := p.(error); ok && errors.Is(abort, http.ErrAbortHandler) {
			panic(p)
		}
		err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}()

	if r.query, err = parseQuery(r.Request().URL.RawQuery); err != nil {
		return err
	}
	if route.Access != AccessPublic {
		if r.by, err = a.authenticate(r.Context); err != nil {
			return err
		}
		if err := a.limit(r); err != nil {
			return err
		}
		if !permitted(route, r.by) {
			return polset.ErrNotFound
		}
	}
	// Nothing has an id that is not of this form; databases need not see it.
	if route.Access != AccessPublic {
		names := r.ParamNames()
		for i, id := range r.ParamValues() {
			if names[i] == bundleParam {
				id = bundleOf(id)
			}
			if !plausibleID.MatchString(id) {
				return polset.ErrNotFound
			}
		}
	}
	return route.handle(r)
}

var plausibleID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// permitted says whether the principal may use the route. Whoever may not is
// told that there is no such thing.
func permitted(route Route, by polset.Principal) bool {
	if route.Access == AccessSiteAdmin {
		return by.SiteAdmin()
	}
	return by.Can(route.Permission)
}

// parseQuery refuses what a database could not compare.
func parseQuery(raw string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, problem{Status: http.StatusBadRequest, Title: "bad request", Detail: "The query string is malformed."}
	}
	for key, values := range query {
		text := key + strings.Join(values, "")
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return nil, problem{Status: http.StatusBadRequest, Title: "bad request", Detail: "The query string holds a character that no text may hold."}
		}
	}
	return query, nil
}

// record writes the log entry and the metrics. The route's pattern stands for
// the path, which may be a signed link.
func (a *API) record(route Route, r *request, id string, elapsed time.Duration, err error) {
	status := r.Response().Status
	method := route.Method
	if method == "" {
		method = "other" // whatever a stranger sends must not become a label
	}
	a.metrics.observe(method, route.Pattern, status, elapsed)
	fields := []zap.Field{
		zap.String("method", method),
		zap.String("route", route.Pattern),
		zap.Int("status", status),
		zap.String("request", id),
		zap.String("actor", r.by.Actor),
		zap.Duration("elapsed", elapsed),
	}
	switch {
	case r.ctx().Err() != nil:
		a.Logger.Debug("api request given up by the client", append(fields, zap.Error(err))...)
	case err != nil && (status >= http.StatusInternalServerError || status < http.StatusBadRequest):
		// An error under a good status cut the answer short.
		a.Logger.Error("api request failed", append(fields, zap.Error(err))...)
	case method == http.MethodGet || method == http.MethodHead:
		a.Logger.Debug("api request", fields...)
	default:
		a.Logger.Info("api request", fields...)
	}
}
