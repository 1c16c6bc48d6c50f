package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/polset/polset"
)

// ToolVersionReader finds versions of OPA and of Sentinel, for site admins.
type ToolVersionReader interface {
	ToolVersion(ctx context.Context, by polset.Principal, tool polset.Kind, id string) (polset.ToolVersion, error)
	// ToolVersions returns a page in a stable order, and the count of all that
	// the filter lets through.
	ToolVersions(ctx context.Context, by polset.Principal, tool polset.Kind, filter polset.ToolFilter, page polset.Page) ([]polset.ToolVersion, int, error)
}

// ToolVersionWriter makes, changes and removes them.
type ToolVersionWriter interface {
	CreateToolVersion(ctx context.Context, by polset.Principal, version polset.ToolVersion) (polset.ToolVersion, error)
	UpdateToolVersion(ctx context.Context, by polset.Principal, tool polset.Kind, id string, change polset.ToolVersionChange) (polset.ToolVersion, error)
	// DeleteToolVersion succeeds while policy sets ask for the version.
	DeleteToolVersion(ctx context.Context, by polset.Principal, tool polset.Kind, id string) error
}

// ToolVersions is what the endpoints of tool versions need.
type ToolVersions interface {
	ToolVersionReader
	ToolVersionWriter
}

// A toolFace is the endpoints of one tool's versions.
type toolFace struct {
	*API
	tool polset.Kind
	kind string // of the resources
	id   string // the parameter
}

func (a *API) toolRoutes() []Route {
	opa := toolFace{a, polset.KindOPA, "opa-versions", "opa_version"}
	sentinel := toolFace{a, polset.KindSentinel, "sentinel-versions", "sentinel_version"}
	return append(opa.routes(), sentinel.routes()...)
}

func (t toolFace) routes() []Route {
	versions := prefix + "/admin/" + t.kind
	version := versions + "/:" + t.id
	return []Route{
		{http.MethodGet, versions, AccessSiteAdmin, "", t.list, lists(t.kind, toolVersionAttributes{}, "List "+t.kind).with("filter[version]", "search[version]")},
		{http.MethodPost, versions, AccessSiteAdmin, "", t.create, creates(t.kind, toolVersionDraft{}, toolVersionAttributes{}, "Declare one of the "+t.kind)},
		{http.MethodGet, version, AccessSiteAdmin, "", t.show, shows(t.kind, toolVersionAttributes{}, "Show one of the "+t.kind)},
		{http.MethodPatch, version, AccessSiteAdmin, "", t.update, changes(t.kind, toolVersionDraft{}, toolVersionAttributes{}, "Change one of the "+t.kind)},
		{http.MethodDelete, version, AccessSiteAdmin, "", t.remove, answers204("Delete one of the " + t.kind)},
	}
}

type toolVersionAttributes struct {
	Version          string             `json:"version"`
	URL              *string            `json:"url"`
	SHA              *string            `json:"sha"`
	Archs            []polset.ToolBuild `json:"archs"`
	Official         bool               `json:"official"`
	Enabled          bool               `json:"enabled"`
	Beta             bool               `json:"beta"`
	Deprecated       bool               `json:"deprecated"`
	DeprecatedReason *string            `json:"deprecated-reason"`
	Usage            int                `json:"usage"`
	CreatedAt        iso8601            `json:"created-at"`
}

type toolVersionDraft struct {
	Version          optional[string]             `json:"version"`
	URL              optional[string]             `json:"url"`
	SHA              optional[string]             `json:"sha"`
	Archs            optional[[]polset.ToolBuild] `json:"archs"`
	Official         optional[bool]               `json:"official"`
	Enabled          optional[bool]               `json:"enabled"`
	Beta             optional[bool]               `json:"beta"`
	Deprecated       optional[bool]               `json:"deprecated"`
	DeprecatedReason optional[string]             `json:"deprecated-reason"`
}

func (t toolFace) resource(v polset.ToolVersion) resource {
	return resource{
		ID:   v.ID,
		Type: t.kind,
		Attributes: toolVersionAttributes{
			Version: v.Version, URL: orNull(v.URL), SHA: orNull(v.SHA), Archs: v.Builds, Official: v.Official, Enabled: v.Enabled,
			Beta: v.Beta, Deprecated: v.Deprecated, DeprecatedReason: orNull(v.DeprecatedReason), Usage: v.Usage, CreatedAt: iso8601(v.CreatedAt),
		},
		Links: map[string]string{"self": prefix + "/admin/" + t.kind + "/" + v.ID},
	}
}

func (t toolFace) list(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	filter := polset.ToolFilter{Version: r.query.Get("filter[version]"), Search: r.query.Get("search[version]")}
	for _, name := range []string{"filter[version]", "search[version]"} {
		if len(r.query.Get(name)) > maxName {
			return badParameter(name, "%s must not exceed %d bytes.", name, maxName)
		}
	}
	versions, total, err := t.ToolVersions.ToolVersions(r.ctx(), r.by, t.tool, filter, page)
	if err != nil {
		return err
	}
	var data []resource
	for _, v := range versions {
		data = append(data, t.resource(v))
	}
	return r.send(http.StatusOK, t.API.list(r, data, page, total))
}

func (t toolFace) show(r *request) error {
	v, err := t.ToolVersions.ToolVersion(r.ctx(), r.by, t.tool, r.Param(t.id))
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(t.resource(v)))
}

func (t toolFace) create(r *request) error {
	d, err := decode[toolVersionDraft](r, t.kind, "")
	if err != nil {
		return err
	}
	change := d.Attributes.change()
	v := polset.ToolVersion{Tool: t.tool, Enabled: true, Builds: []polset.ToolBuild{}}.With(change)
	if err := checkToolVersion(v, change.Builds != nil).orNil(); err != nil {
		return err
	}
	if v, err = t.ToolVersions.CreateToolVersion(r.ctx(), r.by, v); err != nil {
		return versionTaken(err)
	}
	return r.send(http.StatusCreated, single(t.resource(v)))
}

func (t toolFace) update(r *request) error {
	now, err := t.ToolVersions.ToolVersion(r.ctx(), r.by, t.tool, r.Param(t.id))
	if err != nil {
		return err
	}
	d, err := decode[toolVersionDraft](r, t.kind, now.ID)
	if err != nil {
		return err
	}
	change := d.Attributes.change()
	if err := checkToolVersion(now.With(change), change.Builds != nil).orNil(); err != nil {
		return err
	}
	v, err := t.ToolVersions.UpdateToolVersion(r.ctx(), r.by, t.tool, now.ID, change)
	if err != nil {
		return versionTaken(err)
	}
	return r.send(http.StatusOK, single(t.resource(v)))
}

func (t toolFace) remove(r *request) error {
	if err := t.ToolVersions.DeleteToolVersion(r.ctx(), r.by, t.tool, r.Param(t.id)); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

func (d toolVersionDraft) change() polset.ToolVersionChange {
	return polset.ToolVersionChange{
		Version: d.Version.given(), URL: d.URL.given(), SHA: d.SHA.given(), Builds: d.Archs.given(), DeprecatedReason: d.DeprecatedReason.given(),
		Official: d.Official.some(), Enabled: d.Enabled.some(), Beta: d.Beta.some(), Deprecated: d.Deprecated.some(),
	}
}

func versionTaken(err error) error {
	if errors.Is(err, polset.ErrConflict) {
		return invalid("version", "Version has already been taken")
	}
	return err
}

const maxBuilds = 100

var (
	validVersion  = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$`)
	validPlatform = regexp.MustCompile(`^[0-9a-z_]{1,32}$`)
	validSHA      = regexp.MustCompile(`^[0-9A-Fa-f]{1,128}$`)
)

// checkToolVersion judges what would be written. Nobody downloads a tool from
// what is declared here; the addresses are for people. Builds that are not
// listed, as archs, are url and sha.
func checkToolVersion(v polset.ToolVersion, listed bool) problems {
	var wrong problems
	if !validVersion.MatchString(v.Version) {
		wrong = append(wrong, invalid("version", "version must be 1 to 64 letters, digits, dots, hyphens, underscores and plus signs, such as 1.2.3."))
	}
	if len(v.DeprecatedReason) > maxSetting {
		wrong = append(wrong, invalid("deprecated-reason", "deprecated-reason must not exceed %d bytes.", maxSetting))
	}
	switch {
	case len(v.Builds) == 0:
		wrong = append(wrong, invalid("archs", "url and sha, or archs, are required."))
	case len(v.Builds) > maxBuilds:
		wrong = append(wrong, invalid("archs", "archs must not exceed %d entries.", maxBuilds))
	}
	seen := map[[2]string]bool{}
	for i, b := range v.Builds {
		refuse := func(name, format string, args ...any) {
			at := name
			if listed {
				at = fmt.Sprintf("archs/%d/%s", i, name)
			}
			wrong = append(wrong, invalid(at, strings.ReplaceAll(at, "/", ".")+" "+format, args...))
		}
		u, err := url.Parse(b.URL)
		platform := [2]string{b.OS, b.Arch}
		switch {
		case err != nil || len(b.URL) > maxSetting || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil:
			refuse("url", "must be an http or https URL of up to %d bytes, without a user name.", maxSetting)
		case !validSHA.MatchString(b.SHA):
			refuse("sha", "must be up to 128 hexadecimal digits.")
		case !validPlatform.MatchString(b.OS):
			refuse("os", "must be the name of an operating system, such as linux.")
		case !validPlatform.MatchString(b.Arch):
			refuse("arch", "must be the name of an architecture, such as amd64.")
		case seen[platform]:
			refuse("os", "and arch are those of another build, for %s %s; list each platform once.", b.OS, b.Arch)
		}
		seen[platform] = true
	}
	return wrong
}
