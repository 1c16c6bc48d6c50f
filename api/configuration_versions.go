package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/polset/polset"
)

// ConfigurationReader finds configuration versions.
type ConfigurationReader interface {
	ConfigurationVersion(ctx context.Context, by polset.Principal, id string) (polset.ConfigurationVersion, error)
	// ConfigurationVersions returns a page, the newest first, and the count of
	// all.
	ConfigurationVersions(ctx context.Context, by polset.Principal, workspaceID string, page polset.Page) ([]polset.ConfigurationVersion, int, error)
}

// ConfigurationWriter makes configuration versions and gives them their bytes.
type ConfigurationWriter interface {
	CreateConfigurationVersion(ctx context.Context, by polset.Principal, draft polset.ConfigurationDraft) (polset.ConfigurationVersion, error)
	// UploadConfigurationVersion answers polset.ErrConflict for one that has
	// its bytes.
	UploadConfigurationVersion(ctx context.Context, by polset.Principal, id, digest string, size int64) (polset.ConfigurationVersion, error)
}

// Configurations is what the endpoints of configuration versions need.
type Configurations interface {
	ConfigurationReader
	ConfigurationWriter
}

func (a *API) configurationRoutes() []Route {
	const (
		read   = polset.PermissionRead
		create = polset.PermissionCreateRuns

		list = prefix + "/workspaces/:workspace/configuration-versions"
		one  = prefix + "/configuration-versions/:configuration_version"
	)
	return []Route{
		{http.MethodGet, list, AccessToken, read, a.listConfigurationVersions, lists(configurationKind, configurationAttributes{}, "List configuration versions, the newest first").including(configurationIncludes...)},
		{http.MethodPost, list, AccessToken, create, a.createConfigurationVersion, creates(configurationKind, configurationDraft{}, configurationAttributes{}, "Create a configuration version that waits for its upload")},
		{http.MethodGet, one, AccessToken, read, a.showConfigurationVersion, shows(configurationKind, configurationAttributes{}, "Show a configuration version").including(configurationIncludes...)},
		{http.MethodGet, one + "/download", AccessToken, read, a.downloadConfigurationVersion, redirects("Download the upload of a configuration version")},
	}
}

const configurationKind = "configuration-versions"

type configurationAttributes struct {
	Status           polset.ConfigurationStatus `json:"status"`
	StatusTimestamps map[string]string          `json:"status-timestamps"`
	AutoQueueRuns    bool                       `json:"auto-queue-runs"`
	Speculative      bool                       `json:"speculative"`
	Provisional      bool                       `json:"provisional"`
	Source           string                     `json:"source"`
	Error            *string                    `json:"error"`
	ErrorMessage     *string                    `json:"error-message"`
	ChangedFiles     []string                   `json:"changed-files"`
	UploadURL        *string                    `json:"upload-url"`
	CreatedAt        iso8601                    `json:"created-at"`
}

type configurationDraft struct {
	AutoQueueRuns optional[bool] `json:"auto-queue-runs"`
	Speculative   optional[bool] `json:"speculative"`
	Provisional   optional[bool] `json:"provisional"`
}

// configurationIncludes are the values of include. A configuration version that
// a client uploaded came from no repository.
var configurationIncludes = []string{"ingress_attributes", "run"}

// configurationResource is a configuration version as a principal sees it: with
// the link to upload it, while it waits for that and the principal may.
func (a *API) configurationResource(by polset.Principal, c polset.ConfigurationVersion) resource {
	self := prefix + "/configuration-versions/" + c.ID
	attributes := configurationAttributes{
		Status: c.Status, StatusTimestamps: statusTimestamps(map[string]time.Time{"queued-at": c.CreatedAt, "finished-at": c.UploadedAt}),
		AutoQueueRuns: c.AutoQueueRuns, Speculative: c.Speculative, Provisional: c.Provisional, Source: "tfe-api",
		ChangedFiles: []string{}, CreatedAt: iso8601(c.CreatedAt),
	}
	links := map[string]string{"self": self}
	if c.Status == polset.ConfigurationPending {
		if by.Can(polset.PermissionCreateRuns) {
			attributes.UploadURL = orNull(a.objectURL(link{Operation: linkPut, Kind: configurationKind, ID: c.ID, By: by.Actor}))
		}
	} else {
		links["download"] = self + "/download"
	}
	return resource{
		ID:            c.ID,
		Type:          configurationKind,
		Attributes:    attributes,
		Relationships: map[string]relation{"ingress-attributes": toOne("ingress-attributes", "")},
		Links:         links,
	}
}

func (a *API) listConfigurationVersions(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	if _, err := r.include(configurationIncludes...); err != nil {
		return err
	}
	versions, total, err := a.Configurations.ConfigurationVersions(r.ctx(), r.by, r.Param("workspace"), page)
	if err != nil {
		return err
	}
	var data []resource
	for _, c := range versions {
		data = append(data, a.configurationResource(r.by, c))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total))
}

func (a *API) createConfigurationVersion(r *request) error {
	// Before the body is judged, as for every tenant.
	w, err := a.workspace(r)
	if err != nil {
		return err
	}
	d, err := decode[configurationDraft](r, configurationKind, "")
	if err != nil {
		return err
	}
	c, err := a.Configurations.CreateConfigurationVersion(r.ctx(), r.by, polset.ConfigurationDraft{
		WorkspaceID: w.ID, AutoQueueRuns: d.Attributes.AutoQueueRuns.Or(true),
		Speculative: d.Attributes.Speculative.Or(false), Provisional: d.Attributes.Provisional.Or(false),
	})
	if err != nil {
		return err
	}
	return r.send(http.StatusCreated, single(a.configurationResource(r.by, c)))
}

func (a *API) showConfigurationVersion(r *request) error {
	if _, err := r.include(configurationIncludes...); err != nil {
		return err
	}
	c, err := a.Configurations.ConfigurationVersion(r.ctx(), r.by, r.Param("configuration_version"))
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(a.configurationResource(r.by, c)))
}

// downloadConfigurationVersion sends the client on to a link that carries its
// own proof.
func (a *API) downloadConfigurationVersion(r *request) error {
	c, err := a.Configurations.ConfigurationVersion(r.ctx(), r.by, r.Param("configuration_version"))
	if err != nil {
		return err
	}
	if c.Status != polset.ConfigurationUploaded {
		return polset.ErrNotFound
	}
	return r.Redirect(http.StatusFound, a.objectURL(link{Operation: linkGet, Key: c.Digest, Name: c.ID}))
}

// uploadConfigurationVersion takes the bytes of a configuration version, as
// they are: the bytes before the row that points to them. Whoever evaluates
// them does not trust them either.
func (a *API) uploadConfigurationVersion(r *request, l link) (document, error) {
	const again = "This configuration version was uploaded before. Create another one to upload again."
	c, err := a.Configurations.ConfigurationVersion(r.ctx(), r.by, l.ID)
	if err != nil {
		return document{}, err
	}
	if c.Status != polset.ConfigurationPending { // before its bytes are read
		return document{}, conflict(again)
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
	if err := a.Objects.Put(r.ctx(), u.digest, u.size, u); err != nil {
		return document{}, &polset.Failure{
			Class: polset.ClassStorage, Retry: true, Message: "The object storage does not take the upload at the moment; nothing was kept. Try again.",
			Err: fmt.Errorf("store the upload of configuration version %s: %w", l.ID, err),
		}
	}
	c, err = a.Configurations.UploadConfigurationVersion(r.ctx(), r.by, l.ID, u.digest, u.size)
	if errors.Is(err, polset.ErrConflict) {
		return document{}, conflict(again)
	}
	if err != nil {
		return document{}, err
	}
	return single(a.configurationResource(r.by, c)), nil
}
