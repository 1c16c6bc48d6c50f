package api

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/polset/polset"
)

// versionAttributes is a version as HCP Terraform shows it, followed by what
// only polset knows: where the archive came from and what it holds.
type versionAttributes struct {
	Source            string             `json:"source"`
	Status            string             `json:"status"`
	StatusTimestamps  map[string]string  `json:"status-timestamps"`
	Error             *string            `json:"error"`
	ErrorMessage      *string            `json:"error-message"`
	IngressAttributes *ingressAttributes `json:"ingress-attributes"`
	CreatedAt         iso8601            `json:"created-at"`
	UpdatedAt         iso8601            `json:"updated-at"`

	Branch            *string         `json:"branch"`
	TreeSHA           *string         `json:"tree-sha"`
	ArchiveSHA256     *string         `json:"archive-sha256"`
	TarSHA256         *string         `json:"tar-sha256"`
	ArchiveSize       *int64          `json:"archive-size"`
	FileCount         *int            `json:"file-count"`
	PoliciesDirectory *string         `json:"policies-directory"`
	Policies          []policySummary `json:"policies"`
	ErrorDiagnostics  []diagnostic    `json:"error-diagnostics"`
}

type ingressAttributes struct {
	CommitSHA  string `json:"commit-sha"`
	CommitURL  string `json:"commit-url"`
	Identifier string `json:"identifier"`
}

type policySummary struct {
	Name             string  `json:"name"`
	Query            *string `json:"query"`
	EnforcementLevel string  `json:"enforcement-level"`
	Description      *string `json:"description"`
}

// diagnostic is one place of the commit that is at fault.
type diagnostic struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

func versionResource(v polset.Version) resource {
	self := prefix + "/policy-set-versions/" + v.ID
	attrs := versionAttributes{
		Source: v.Source,
		Status: string(v.Status),
		StatusTimestamps: statusTimestamps(map[string]time.Time{
			"pending-at":    v.PendingAt,
			"ingressing-at": v.IngressingAt,
			"ready-at":      v.ReadyAt,
			"errored-at":    v.ErroredAt,
		}),
		Error:        orNull(string(v.Error)),
		ErrorMessage: orNull(v.ErrorMessage),
		CreatedAt:    iso8601(v.CreatedAt),
		UpdatedAt:    iso8601(v.UpdatedAt),
		Branch:       orNull(v.Branch),
		Policies:     []policySummary{},

		ErrorDiagnostics: make([]diagnostic, 0, len(v.Diagnostics)),
	}
	for _, d := range v.Diagnostics {
		attrs.ErrorDiagnostics = append(attrs.ErrorDiagnostics, diagnostic(d))
	}
	// An upload came from no commit, and a version whose branch was not seen
	// yet has none either.
	if v.Commit != "" {
		attrs.IngressAttributes = &ingressAttributes{CommitSHA: v.Commit, CommitURL: v.CommitURL, Identifier: v.Identifier}
	}
	links := map[string]string{"self": self}
	if v.Status == polset.VersionReady {
		made := v.Artifact
		attrs.TreeSHA = orNull(made.Content.Tree)
		attrs.ArchiveSHA256 = &made.Digest
		attrs.TarSHA256 = &made.TarDigest
		attrs.ArchiveSize = &made.Size
		attrs.FileCount = &made.Files
		attrs.PoliciesDirectory = &made.PoliciesDirectory
		for _, p := range made.Policies {
			attrs.Policies = append(attrs.Policies, policySummary{
				Name: p.Name, Query: orNull(p.Query), EnforcementLevel: p.EnforcementLevel, Description: orNull(p.Description),
			})
		}
		links["download"] = self + "/download"
	}
	return resource{
		ID:            v.ID,
		Type:          "policy-set-versions",
		Attributes:    attrs,
		Relationships: map[string]relation{"policy-set": toOne("policy-sets", v.PolicySetID)},
		Links:         links,
	}
}

// versionFor is the resource of a version as a principal sees it: with the link
// to upload it, while it waits for an upload and the principal may send one.
func (a *API) versionFor(by polset.Principal, v polset.Version) resource {
	res := versionResource(v)
	if v.Source == polset.SourceAPI && v.Status == polset.VersionPending && by.Can(polset.PermissionManagePolicies) {
		res.Links["upload"] = a.objectURL(link{Operation: linkPut, Kind: res.Type, ID: v.ID, By: by.Actor})
	}
	return res
}

// createVersion makes a version that waits for an upload. Clients send no body,
// and what they send is not read.
func (a *API) createVersion(r *request) error {
	v, err := a.Uploads.CreateVersion(r.ctx(), r.by, r.Param("policy_set"))
	if errors.Is(err, polset.ErrConflict) {
		return problem{
			Status: http.StatusUnprocessableEntity, Title: "unprocessable entity",
			Detail: "The policy set follows a repository or holds individual policies, and its versions are made of these. Remove vcs-repo and the policies from it to upload versions, or make another policy set.",
		}
	}
	if err != nil {
		return err
	}
	return r.send(http.StatusCreated, single(a.versionFor(r.by, v)))
}

// uploadVersion takes the archive of a version. The answer comes when the
// version is ready or errored.
func (a *API) uploadVersion(r *request, l link) (document, error) {
	v, err := a.Versions.Version(r.ctx(), r.by, l.ID)
	if err != nil && !errors.Is(err, polset.ErrNotFound) {
		err = &polset.Failure{Class: polset.ClassInternal, Retry: true, Err: err, Message: "polset's database did not answer. Upload it again later."}
	}
	if err != nil {
		return document{}, err
	}
	if v.Status.Terminal() { // before its bytes are read
		return document{}, conflict("This version was uploaded before, and is %s. Create another version to upload again.", v.Status)
	}
	u, err := a.receive(r, a.MaxArchiveBytes, "POLSET_MAX_ARCHIVE_BYTES")
	if err != nil {
		return document{}, err
	}
	defer a.discard(u)
	// The bytes may have taken long enough for the answer to be another.
	if r.by, err = a.granted(r, l); err != nil {
		return document{}, err
	}
	v, err = a.Uploader.Upload(r.ctx(), r.by, l.ID, u)
	if errors.Is(err, polset.ErrConflict) {
		return document{}, conflict("This version takes no upload now: it was uploaded before, another upload of it is being worked on, or its policy set follows a repository. Create another version to upload again.")
	}
	if err != nil {
		return document{}, err
	}
	return single(versionResource(v)), nil
}

func (a *API) listVersions(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	filter, err := r.versionFilter(string(polset.VersionPending), string(polset.VersionIngressing), string(polset.VersionReady), string(polset.VersionErrored))
	if err != nil {
		return err
	}
	if filter.Sources, err = r.choices("filter[source]", polset.SourceGitHub, polset.SourceAPI, polset.SourcePolicies); err != nil {
		return err
	}
	versions, total, err := a.Versions.Versions(r.ctx(), r.by, r.Param("policy_set"), filter, page)
	if err != nil {
		return err
	}
	var data []resource
	for _, v := range versions {
		data = append(data, a.versionFor(r.by, v))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total))
}

func (a *API) showVersion(r *request) error {
	want, err := r.include("policy_set")
	if err != nil {
		return err
	}
	v, err := a.Versions.Version(r.ctx(), r.by, r.Param("version"))
	if err != nil {
		return err
	}
	var included []resource
	if want["policy_set"] {
		set, err := a.PolicySets.PolicySet(r.ctx(), r.by, v.PolicySetID)
		if err != nil {
			return err
		}
		included = append(included, a.policySetResource(set, false))
	}
	return r.send(http.StatusOK, single(a.versionFor(r.by, v), included...))
}

// downloadVersion sends the client on to a link that carries its own proof, so
// that whatever fetches the bytes needs no token.
func (a *API) downloadVersion(r *request) error {
	v, err := a.Versions.Version(r.ctx(), r.by, r.Param("version"))
	if err != nil {
		return err
	}
	if v.Status != polset.VersionReady {
		return polset.ErrNotFound
	}
	return r.Redirect(http.StatusFound, a.objectURL(link{
		Operation: linkGet,
		Key:       v.Artifact.Digest,
		Name:      v.ID,
	}))
}

var fullCommit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// choices reads a parameter that takes some of the values, separated by commas.
func (r *request) choices(name string, allowed ...string) (chosen []string, err error) {
	for _, value := range strings.Split(strings.Join(r.query[name], ","), ",") {
		if value == "" {
			continue
		}
		if !slices.Contains(allowed, value) {
			return nil, badParameter(name, "%s takes %s.", name, strings.Join(allowed, ", "))
		}
		chosen = append(chosen, value)
	}
	return chosen, nil
}

// versionFilter reads filter[status] and filter[commit-sha], for a list whose
// statuses are those given. Several statuses are separated by commas.
func (r *request) versionFilter(statuses ...string) (filter polset.VersionFilter, err error) {
	if filter.Statuses, err = r.choices("filter[status]", statuses...); err != nil {
		return filter, err
	}
	if filter.Commit = strings.ToLower(r.query.Get("filter[commit-sha]")); filter.Commit != "" && !fullCommit.MatchString(filter.Commit) {
		return filter, badParameter("filter[commit-sha]", "filter[commit-sha] takes the full id of a commit.")
	}
	return filter, nil
}
