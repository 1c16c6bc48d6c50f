package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

// TestIsolation asks every route of the table, as everybody who may not, for
// what exists and for what does not, and wants no difference. Whoever adds a
// route says beside its tests, where the test cannot know by itself:
//
//	// how an organization comes to have what the path parameter names
//	var _ = thing("policy", func(e *estate) string { return e.create("/organizations/{organization}/policies", `{"data":…}`) })
//
//	// what the owner may send; the first of several must succeed
//	var _ = probe("POST /organizations/:organization/policies", `{"data":{…,"id":"{policy_set}"…}}`)
//
// A {name} in a body stands for a thing of the estate; the test puts another
// organization's in its place as well.
func TestIsolation(t *testing.T) {
	w := newWorld(t)
	w.app = theApp()
	theirs := w.estate("evilcorp")
	for name := range things {
		theirs.thing(name)
	}
	known := map[string]bool{}
	for n, route := range w.api.Routes() {
		name := routeName(route)
		known[name] = true
		if route.Access == api.AccessToken && route.Permission == polset.PermissionRead && route.Method != http.MethodGet && route.Method != http.MethodHead {
			t.Errorf("%s needs no more than the permission to read", name)
		}
		if route.Access == api.AccessPublic {
			if len(route.Params()) > 0 && !strings.Contains(route.Pattern, "/:token") {
				t.Errorf("%s names something, and anybody may ask", name)
			}
			continue
		}
		t.Run("case 80 "+name, func(t *testing.T) {
			i := isolation{T: t, route: route, ours: w.estate(fmt.Sprintf("acme-%d", n)), theirs: theirs}
			i.check()
		})
	}
	for name := range probes {
		if !known[name] {
			t.Errorf("there is a probe for %s, and no such route", name)
		}
	}
}

// things says how an estate comes to have what a path parameter names.
var things = map[string]func(*estate) string{}

// thing adds to things; its value has no use.
func thing(name string, provide func(*estate) string) bool {
	things[name] = provide
	return true
}

// probes are bodies that the owner may send. A route without one takes none.
var probes = map[string][]string{}

// probe adds to probes; its value has no use.
func probe(name string, bodies ...string) bool {
	probes[name] = bodies
	return true
}

// elsewhere are routes whose owner succeeds on another thing than the estate's.
var elsewhere = map[string]func(*estate) string{}

// on adds to elsewhere; the route has one path parameter.
func on(name string, provide func(*estate) string) bool {
	elsewhere[name] = provide
	return true
}

func routeName(route api.Route) string {
	return route.Method + " " + strings.TrimPrefix(route.Pattern, "/api/v2")
}

// An estate is an organization with what it owns.
type estate struct {
	*world
	name, organizationID string
	token, tokenID       string            // may do everything in the organization
	reader               string            // may read it
	made                 map[string]string // ids, by the names of things
}

// estate is an organization's; a new one's where there is none of this name.
func (w *world) estate(name string) *estate {
	w.t.Helper()
	e := &estate{world: w, name: name, made: map[string]string{"organization": name}}
	switch name {
	case "acme":
		e.organizationID = w.acmeID
	case "evilcorp":
		e.organizationID = w.evilID
	default:
		e.organizationID = w.organization(name)
	}
	k, secret, err := w.store.CreateToken(w.t.Context(), polset.System, polset.Token{OrganizationID: e.organizationID, Permissions: polset.Permissions()})
	if err != nil {
		w.t.Fatal(err)
	}
	e.token, e.tokenID, e.reader = secret.Reveal(), k.ID, w.token(e.organizationID, polset.PermissionRead)
	return e
}

// thing is the id of one of the estate's, which is made when it is first asked for.
func (e *estate) thing(name string) string {
	e.t.Helper()
	if id, ok := e.made[name]; ok {
		return id
	}
	provide, ok := things[name]
	if !ok {
		e.t.Fatalf("no test says how an organization comes to have what the parameter %s names; see TestIsolation", name)
	}
	id := provide(e)
	if id == "" {
		e.t.Fatalf("there is no %s", name)
	}
	e.made[name] = id
	return id
}

var placeholder = regexp.MustCompile(`\{([a-z_]+)\}`)

// fill puts ids into the places of a text.
func fill(text string, id func(name string) string) string {
	return placeholder.ReplaceAllStringFunc(text, func(place string) string { return id(strings.Trim(place, "{}")) })
}

// create makes a resource as the owner, and returns its id.
func (e *estate) create(path, body string) string {
	e.t.Helper()
	a := e.ask(e.token, http.MethodPost, fill(path, e.thing), fill(body, e.thing))
	if a.status != http.StatusCreated {
		e.t.Fatalf("POST %s in %s: %d %s", path, e.name, a.status, a.body)
	}
	return dataID(e.t, a)
}

// missing is an id of the form that a thing's has, and of nothing.
func missing(e *estate, name string) string {
	if prefix, _, ok := strings.Cut(e.thing(name), "-"); ok && name != "organization" {
		return prefix + "-0000000000009999"
	}
	return "no-such-" + name
}

// An isolation is the check of one route.
type isolation struct {
	*testing.T
	route        api.Route
	ours, theirs *estate
}

func (i *isolation) check() {
	params, bodies := i.route.Params(), probes[routeName(i.route)]
	for _, name := range params {
		i.ours.thing(name)
	}
	for _, body := range bodies {
		fill(body, i.ours.thing)
	}
	before := i.ours.everything(i.T)
	i.strangers(params, bodies)
	i.mixtures(params, bodies)
	if diff := cmp.Diff(before, i.ours.everything(i.T)); diff != "" {
		i.Errorf("a stranger changed something: %s", diff)
	}
	i.references(bodies)
	i.owner(bodies)
}

// strangers ask for all that is ours: another organization's token, and
// tokens of our own that lack what the route needs.
func (i *isolation) strangers(params, bodies []string) {
	tokens := map[string]string{}
	switch {
	case i.route.Access == api.AccessSiteAdmin:
		tokens["our own"], tokens["their"] = i.ours.token, i.theirs.token
	case i.route.Permission != polset.PermissionRead:
		tokens["our reader's"] = i.ours.reader
	}
	if len(params) > 0 {
		tokens["their"] = i.theirs.token
	}
	for whose, token := range tokens {
		for _, query := range i.queries() {
			for _, body := range i.bodies(bodies, i.ours.thing) {
				foreign := i.ask(token, i.ours.thing, query, body)
				absent := i.ask(token, func(name string) string { return missing(i.ours, name) }, query, body)
				if len(params) == 0 {
					absent = i.normal(i.ours.ask(token, i.route.Method, "/no-such-thing", body))
				}
				i.same(whose+" token", query, body, foreign, absent)
			}
		}
	}
}

// mixtures are paths that lead through one organization's thing to another's.
// Not even the site admin finds anything there.
func (i *isolation) mixtures(params, bodies []string) {
	if len(params) < 2 {
		return
	}
	for n := range 1 << len(params) {
		if n == 0 || n == 1<<len(params)-1 {
			continue
		}
		mixed := func(strange func(name string) string) func(string) string {
			return func(name string) string {
				if n>>slices.Index(params, name)&1 == 1 {
					return strange(name)
				}
				return i.theirs.thing(name)
			}
		}
		for whose, token := range map[string]string{"their": i.theirs.token, "our": i.ours.token, "the site admin's": admin} {
			for _, body := range i.bodies(bodies, i.theirs.thing) {
				foreign := i.ask(token, mixed(i.ours.thing), "", body)
				absent := i.ask(token, mixed(func(name string) string { return missing(i.ours, name) }), "", body)
				i.same(whose+" token, mixed path", "", body, foreign, absent)
			}
		}
	}
}

// references put another organization's ids into the bodies that our owner
// sends to our own things, and the site admin, who may lend nothing either.
func (i *isolation) references(bodies []string) {
	if i.route.Access == api.AccessSiteAdmin {
		return // to relate what is theirs to what is ours may be its purpose
	}
	for _, body := range bodies {
		for _, place := range placeholder.FindAllStringSubmatch(body, -1) {
			for _, token := range []string{i.ours.token, admin} {
				i.reference(token, body, place[1])
			}
		}
	}
}

func (i *isolation) reference(token, body, name string) {
	with := func(id string) answer {
		a := i.ask(token, i.ours.thing, "", fill(body, func(other string) string {
			if other == name {
				return id
			}
			return i.ours.thing(other)
		}))
		a.body = strings.ReplaceAll(a.body, id, "the id")
		a.header.Del("Content-Length") // of the id
		return a
	}
	before := i.ours.everything(i.T)
	foreign, absent := with(i.theirs.thing(name)), with(missing(i.ours, name))
	if foreign.status != absent.status || foreign.body != absent.body || !cmp.Equal(foreign.header, absent.header) {
		i.Errorf("the foreign %s in %s: %d %s %v\na missing one: %d %s %v", name, body,
			foreign.status, foreign.body, foreign.header, absent.status, absent.body, absent.header)
	}
	// To take away what was not there is no mistake.
	if foreign.status < 400 && i.route.Method != http.MethodDelete {
		i.Errorf("the foreign %s in %s was taken: %d %s", name, body, foreign.status, foreign.body)
	}
	if diff := cmp.Diff(before, i.ours.everything(i.T)); diff != "" && foreign.status >= 400 {
		i.Errorf("the foreign %s changed something: %s", name, diff)
	}
}

// owner may, with each include, and sees nothing of theirs.
func (i *isolation) owner(bodies []string) {
	body := ""
	if len(bodies) > 0 {
		body = bodies[0]
	}
	own := i.ours.thing
	if provide, ok := elsewhere[routeName(i.route)]; ok {
		own = func(string) string { return provide(i.ours) }
	}
	queries := i.queries()
	if i.route.Method != http.MethodGet {
		queries = queries[len(queries)-1:]
	}
	for _, query := range queries {
		a := i.ask(i.owns(), own, query, fill(body, i.ours.thing))
		if a.status >= 400 {
			i.Errorf("not even the owner may %s: %d %s", query, a.status, a.body)
		}
		if i.route.Access == api.AccessSiteAdmin {
			continue
		}
		for name, id := range i.theirs.made {
			if strings.Contains(a.body, id) {
				i.Errorf("our answer %s names their %s %s: %s", query, name, id, a.body)
			}
		}
	}
}

// owns is the token that may use the route.
func (i *isolation) owns() string {
	if i.route.Access == api.AccessSiteAdmin {
		return admin
	}
	return i.ours.token
}

// queries are no include, each include, and all includes.
func (i *isolation) queries() []string {
	queries, all := []string{""}, i.route.Include()
	for _, value := range all {
		queries = append(queries, "?include="+value)
	}
	if len(all) > 0 {
		queries = append(queries, "?include="+url.QueryEscape(strings.Join(all, ",")))
	}
	return queries
}

// bodies are those that the owner may send, and some that nobody may.
func (i *isolation) bodies(good []string, id func(string) string) []string {
	bodies := []string{"", "{", `{"data":{"type":"wrong","id":"x"}}`, `{"data":[]}`}
	for _, body := range good {
		bodies = append(bodies, fill(body, id))
	}
	return bodies
}

func (i *isolation) ask(token string, id func(string) string, query, body string) answer {
	i.Helper()
	path := i.route.Pattern
	for _, name := range i.route.Params() {
		path = strings.Replace(path, ":"+name, id(name), 1)
	}
	header := http.Header{}
	if i.route.Method == http.MethodPut {
		header.Set("Content-Type", "application/octet-stream")
	}
	return i.normal(i.ours.askWith(token, i.route.Method, i.ours.url+path+query, body, header))
}

// normal leaves out of an answer what is another in each.
func (i *isolation) normal(a answer) answer {
	a.header.Del("X-Request-Id")
	a.header.Del("Date")
	return a
}

// same wants two answers to be the same "not found", whatever the route calls it.
func (i *isolation) same(what, query, body string, foreign, absent answer) {
	i.Helper()
	if foreign.status != i.route.Refusal() || absent.status != foreign.status || foreign.body != absent.body || !cmp.Equal(foreign.header, absent.header) {
		i.Errorf("%s %s %s\nforeign: %d %s %v\nmissing: %d %s %v", what, query, body,
			foreign.status, foreign.body, foreign.header, absent.status, absent.body, absent.header)
	}
}
