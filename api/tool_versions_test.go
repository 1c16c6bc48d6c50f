package api_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

// Tool versions are the site's, whichever organization asks for one.
var (
	_ = thing("opa_version", func(e *estate) string { return e.tool(polset.KindOPA) })
	_ = thing("sentinel_version", func(e *estate) string { return e.tool(polset.KindSentinel) })
	_ = probe("POST /admin/opa-versions", toolBody("opa-versions", "9.9.9"))
	_ = probe("POST /admin/sentinel-versions", toolBody("sentinel-versions", "9.9.9"))
	_ = probe("PATCH /admin/opa-versions/:opa_version", `{"data":{"type":"opa-versions","attributes":{"beta":true}}}`)
	_ = probe("PATCH /admin/sentinel-versions/:sentinel_version", `{"data":{"type":"sentinel-versions","attributes":{"beta":true}}}`)
)

func toolBody(kind, version string) string {
	return `{"data":{"type":"` + kind + `","attributes":{"version":"` + version + `","url":"https://tools.example","sha":"abc"}}}`
}

func (e *estate) tool(kind polset.Kind) string {
	e.t.Helper()
	v := polset.ToolVersion{Tool: kind, Version: "1.0.0-" + e.name, Builds: []polset.ToolBuild{{URL: "https://tools.example", SHA: "abc", OS: "linux", Arch: "amd64"}}}
	v, err := e.store.CreateToolVersion(e.t.Context(), polset.System, v)
	if err != nil {
		e.t.Fatal(err)
	}
	return v.ID
}

func TestToolVersions(t *testing.T) {
	w := newWorld(t)
	site, ctx := w.client(admin), t.Context()
	const sha = "5f9c1a7b"
	create := func(options tfe.AdminSentinelVersionCreateOptions) *tfe.AdminSentinelVersion {
		t.Helper()
		v, err := site.Admin.SentinelVersions.Create(ctx, options)
		if err != nil {
			t.Fatal(err)
		}
		read, err := site.Admin.SentinelVersions.Read(ctx, v.ID)
		if diff := cmp.Diff(v, read); err != nil || diff != "" {
			t.Error(err, diff)
		}
		return v
	}

	plain := create(tfe.AdminSentinelVersionCreateOptions{Version: "0.0.123456789", URL: "https://a.example", SHA: sha})
	if !plain.Enabled || plain.Official || plain.Beta || plain.Deprecated || plain.DeprecatedReason != nil || plain.URL != "https://a.example" || plain.SHA != sha ||
		len(plain.Archs) != 1 || *plain.Archs[0] != (tfe.ToolVersionArchitecture{URL: "https://a.example", Sha: sha, OS: "linux", Arch: "amd64"}) || !strings.HasPrefix(plain.ID, "tool-") {
		t.Errorf("version %+v", plain)
	}
	archs := []*tfe.ToolVersionArchitecture{{URL: "https://b.example", Sha: "b0", OS: "linux", Arch: "arm64"}, {URL: "https://c.example", Sha: "c0", OS: "linux", Arch: "amd64"}}
	full := create(tfe.AdminSentinelVersionCreateOptions{
		Version: "0.40.0", URL: "https://ignored.example", SHA: "00", Official: tfe.Bool(true), Enabled: tfe.Bool(false), Beta: tfe.Bool(true),
		Deprecated: tfe.Bool(true), DeprecatedReason: tfe.String("old"), Archs: archs,
	})
	if full.URL != "https://c.example" || full.SHA != "c0" || !cmp.Equal(full.Archs, archs) || full.Enabled || !full.Official || !full.Beta || !full.Deprecated || *full.DeprecatedReason != "old" {
		t.Errorf("version %+v", full)
	}
	changed, err := site.Admin.SentinelVersions.Update(ctx, full.ID, tfe.AdminSentinelVersionUpdateOptions{URL: tfe.String("https://d.example"), Deprecated: tfe.Bool(false), Version: tfe.String("0.40.1")})
	if err != nil || changed.URL != "https://d.example" || changed.SHA != "c0" || len(changed.Archs) != 2 || changed.Archs[1].URL != "https://d.example" || changed.Archs[0].URL != "https://b.example" ||
		changed.Deprecated || !changed.Official || changed.Version != "0.40.1" {
		t.Errorf("%v %+v", err, changed)
	}
	changed, err = site.Admin.SentinelVersions.Update(ctx, full.ID, tfe.AdminSentinelVersionUpdateOptions{Archs: archs[:1]})
	if err != nil || changed.URL != "" || len(changed.Archs) != 1 {
		t.Errorf("%v %+v", err, changed)
	}

	for name, c := range map[string]struct {
		options *tfe.AdminSentinelVersionsListOptions
		want    int
	}{
		"all": {nil, 2}, "one": {&tfe.AdminSentinelVersionsListOptions{Filter: "0.40.1"}, 1}, "none": {&tfe.AdminSentinelVersionsListOptions{Filter: "0.40"}, 0},
		"a part": {&tfe.AdminSentinelVersionsListOptions{Search: "0.4"}, 1}, "a page": {&tfe.AdminSentinelVersionsListOptions{ListOptions: tfe.ListOptions{PageSize: 1}}, 2},
	} {
		if list, err := site.Admin.SentinelVersions.List(ctx, c.options); err != nil || list.TotalCount != c.want {
			t.Errorf("%s: %v %+v", name, err, list)
		}
	}

	t.Run("OPA is another tool", func(t *testing.T) {
		opa, err := site.Admin.OPAVersions.Create(ctx, tfe.AdminOPAVersionCreateOptions{Version: "0.40.1", URL: "https://a.example", SHA: sha})
		if err != nil {
			t.Fatal(err)
		}
		if list, err := site.Admin.OPAVersions.List(ctx, nil); err != nil || len(list.Items) != 1 || list.Items[0].ID != opa.ID {
			t.Errorf("%v %+v", err, list)
		}
		if _, err := site.Admin.SentinelVersions.Read(ctx, opa.ID); !errors.Is(err, tfe.ErrResourceNotFound) {
			t.Errorf("a version of OPA as one of Sentinel: %v", err)
		}
		if err := site.Admin.SentinelVersions.Delete(ctx, opa.ID); !errors.Is(err, tfe.ErrResourceNotFound) {
			t.Errorf("a version of OPA as one of Sentinel: %v", err)
		}
		if updated, err := site.Admin.OPAVersions.Update(ctx, opa.ID, tfe.AdminOPAVersionUpdateOptions{Enabled: tfe.Bool(false)}); err != nil || updated.Enabled {
			t.Errorf("%v %+v", err, updated)
		}
		if err := site.Admin.OPAVersions.Delete(ctx, opa.ID); err != nil {
			t.Error(err)
		}
	})

	if _, err := site.Admin.SentinelVersions.Create(ctx, tfe.AdminSentinelVersionCreateOptions{Version: "0.40.1", URL: "https://a.example", SHA: sha}); err == nil {
		t.Error("a version was declared twice")
	}
	if _, err := site.Admin.SentinelVersions.Update(ctx, plain.ID, tfe.AdminSentinelVersionUpdateOptions{Version: tfe.String("0.40.1")}); err == nil {
		t.Error("a version was declared twice")
	}
	if err := site.Admin.SentinelVersions.Delete(ctx, full.ID); err != nil {
		t.Error(err)
	}
	if _, err := site.Admin.SentinelVersions.Read(ctx, full.ID); !errors.Is(err, tfe.ErrResourceNotFound) {
		t.Error(err)
	}
}

func TestToolVersionsHostile(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ name, attributes, pointer string }{
		{"no version", `"url":"https://a.example","sha":"a0"`, "/data/attributes/version"},
		{"a version of signs", `"version":"1.0/../2","url":"https://a.example","sha":"a0"`, "/data/attributes/version"},
		{"no build", `"version":"1.0.0"`, "/data/attributes/archs"},
		{"a script for a URL", `"version":"1.0.0","url":"javascript:alert(1)","sha":"a0"`, "/data/attributes/url"},
		{"a URL with a password", `"version":"1.0.0","url":"https://a:b@c.example","sha":"a0"`, "/data/attributes/url"},
		{"a digest of other signs", `"version":"1.0.0","url":"https://a.example","sha":"xyz"`, "/data/attributes/sha"},
		{"a platform twice", `"version":"1.0.0","archs":[{"url":"https://a.example","sha":"a0","os":"linux","arch":"amd64"},{"url":"https://a.example","sha":"a1","os":"linux","arch":"amd64"}]`, "/data/attributes/archs/1/os"},
		{"builds that are no list", `"version":"1.0.0","archs":"all"`, "/data/attributes/archs"},
		{"a long reason", `"version":"1.0.0","url":"https://a.example","sha":"a0","deprecated-reason":"` + strings.Repeat("r", 1025) + `"`, "/data/attributes/deprecated-reason"},
	} {
		t.Run("case 85 "+c.name, func(t *testing.T) {
			refused(t, w.ask(admin, "POST", "/admin/opa-versions", `{"data":{"type":"opa-versions","attributes":{`+c.attributes+`}}}`), 422, c.pointer)
		})
	}
	t.Run("case 85 one tool's version as the other's", func(t *testing.T) {
		refused(t, w.ask(admin, "POST", "/admin/opa-versions", toolBody("sentinel-versions", "1.0.0")), 409, "/data/type")
	})
}

func TestAccount(t *testing.T) {
	w := newWorld(t)
	for token, site := range map[string]bool{admin: true, w.acme: false, w.guest: false} {
		user, err := w.client(token).Users.ReadCurrent(t.Context())
		if err != nil || user.ID == "" || user.Username == "" || !user.IsServiceAccount || *user.IsAdmin != site || user.Permissions.CanCreateOrganizations != site {
			t.Errorf("%v %+v", err, user)
		}
	}
	problemsOf(t, w.ask("", "GET", "/account/details", ""), 401)
}

// TestConformance asks for the two endpoints that only go-tfe's tests need, as
// those do.
func TestConformance(t *testing.T) {
	const features, subscription = "/admin/feature-sets?q=Business", "/admin/organizations/acme/subscription"
	const body = `{"data":{"type":"subscription","attributes":{"runs-ceiling":10},"relationships":{"feature-set":{"data":{"type":"feature-sets","id":"fs-business"}}}}}`
	on := newWorld(t, func(c *api.Config) { c.Conformance = true })
	if a := on.ask(admin, "GET", features, ""); a.status != http.StatusOK || !strings.Contains(a.body, `"type":"feature-sets"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := on.ask(admin, "POST", subscription, body); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	problemsOf(t, on.ask(admin, "POST", strings.Replace(subscription, "acme", "nobody", 1), body), 404)
	problemsOf(t, on.ask(on.acme, "GET", features, ""), 404)
	problemsOf(t, on.ask(on.acme, "POST", subscription, body), 404)

	off := newWorld(t)
	problemsOf(t, off.ask(admin, "GET", features, ""), 404)
	problemsOf(t, off.ask(admin, "POST", subscription, body), 404)
}
