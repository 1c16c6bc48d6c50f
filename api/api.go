// Package api turns authenticated HTTP requests in HCP Terraform's JSON:API
// dialect into calls on the store, and what the store says into documents.
package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// Every method below answers polset.ErrNotFound for what does not exist and
// for what is not the principal's, without a difference between the two, and
// polset.ErrConflict for a name that is taken.

// OrganizationReader finds organizations.
type OrganizationReader interface {
	Organization(ctx context.Context, by polset.Principal, name string) (polset.Organization, error)
	// Organizations returns a page in the order of the names, and the count of all.
	Organizations(ctx context.Context, by polset.Principal, page polset.Page) ([]polset.Organization, int, error)
}

// OrganizationWriter makes and removes organizations.
type OrganizationWriter interface {
	CreateOrganization(ctx context.Context, by polset.Principal, org polset.Organization) (polset.Organization, error)
	// DeleteOrganization removes the organization with all that it owns.
	DeleteOrganization(ctx context.Context, by polset.Principal, name string) error
}

// OrganizationChanger changes organizations.
type OrganizationChanger interface {
	UpdateOrganization(ctx context.Context, by polset.Principal, name string, change polset.OrganizationChange) (polset.Organization, error)
}

// Organizations is what the organization endpoints need.
type Organizations interface {
	OrganizationReader
	OrganizationWriter
	OrganizationChanger
}

// ConnectionReader finds connections.
type ConnectionReader interface {
	Connection(ctx context.Context, by polset.Principal, id string) (polset.Connection, error)
	// Remote returns the repository as a credential reaches it: the token of a
	// connection (ot-…), or an installation (ghain-…) that the principal's
	// organization may use.
	Remote(ctx context.Context, by polset.Principal, credential, identifier string) (polset.Remote, error)
}

// ConnectionWriter makes and removes connections.
type ConnectionWriter interface {
	CreateConnection(ctx context.Context, by polset.Principal, draft polset.ConnectionDraft) (polset.Connection, error)
	// DeleteConnection succeeds while policy sets still use the connection.
	DeleteConnection(ctx context.Context, by polset.Principal, id string) error
}

// Connections is what the oauth-client endpoints need.
type Connections interface {
	ConnectionReader
	ConnectionWriter
}

// InstallationReader finds installations of the GitHub App: for an
// organization those that are bound to it and still exist, for a site admin all.
type InstallationReader interface {
	Installation(ctx context.Context, by polset.Principal, id string) (polset.Installation, error)
	// Installations returns a page in a stable order, and the count of all
	// that the filter lets through. Deleted ones are left out.
	Installations(ctx context.Context, by polset.Principal, filter polset.InstallationFilter, page polset.Page) ([]polset.Installation, int, error)
}

// InstallationBinder says which organizations may use an installation. Only a
// site admin does so.
type InstallationBinder interface {
	// BindInstallation succeeds where the organization may use it already.
	BindInstallation(ctx context.Context, by polset.Principal, id, organization string) error
	// UnbindInstallation leaves the policy sets that use it, degraded.
	UnbindInstallation(ctx context.Context, by polset.Principal, id, organization string) error
}

// Installations is what the installation endpoints need.
type Installations interface {
	InstallationReader
	InstallationBinder
}

// Apps knows the GitHub App.
type Apps interface {
	// App answers polset.ErrNotFound while there is none.
	App(ctx context.Context) (polset.App, error)
}

// SetupLinks makes links that allow one thing, once.
type SetupLinks interface {
	// CreateSetupLink returns the link, and its token, which is nowhere else.
	CreateSetupLink(ctx context.Context, by polset.Principal, purpose polset.SetupPurpose, organization string, ttl time.Duration) (polset.SetupLink, polset.Secret, error)
}

// PolicySetReader finds policy sets.
type PolicySetReader interface {
	PolicySet(ctx context.Context, by polset.Principal, id string) (polset.PolicySet, error)
	// PolicySets returns a page in the order of creation, and the count of
	// all that the filter lets through.
	PolicySets(ctx context.Context, by polset.Principal, organization string, filter polset.PolicySetFilter, page polset.Page) ([]polset.PolicySet, int, error)
}

// PolicySetWriter makes, changes and removes policy sets. What the rows do not
// allow is a polset.RefusedError.
type PolicySetWriter interface {
	CreatePolicySet(ctx context.Context, by polset.Principal, draft polset.PolicySetDraft) (polset.PolicySet, error)
	UpdatePolicySet(ctx context.Context, by polset.Principal, id string, change polset.PolicySetChange) (polset.PolicySet, error)
	DeletePolicySet(ctx context.Context, by polset.Principal, id string) error
}

// PolicySets is what the policy-set endpoints need.
type PolicySets interface {
	PolicySetReader
	PolicySetWriter
	PolicySetMembers
	TagSelectors
}

// Actions is what may be asked of a policy set besides a change. Both answer
// polset.ErrConflict for a set that follows nothing.
type Actions interface {
	// Ingest makes an ingestion of a commit; "" is the head of the branch.
	// That the branch holds the commit is for the caller to know.
	Ingest(ctx context.Context, by polset.Principal, policySetID, commit string) (polset.Ingestion, error)
	// RotateHookSecret returns the policy set with the new secret of the
	// repository's own hook. It answers polset.ErrConflict for a set that has
	// no such hook.
	RotateHookSecret(ctx context.Context, by polset.Principal, policySetID string) (polset.PolicySet, error)
}

// VersionReader finds versions.
type VersionReader interface {
	Version(ctx context.Context, by polset.Principal, id string) (polset.Version, error)
	// Versions returns a page, the newest first, and the count of all that
	// the filter lets through.
	Versions(ctx context.Context, by polset.Principal, policySetID string, filter polset.VersionFilter, page polset.Page) ([]polset.Version, int, error)
	// VersionsByID returns those of the ids that exist, in any order.
	VersionsByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Version, error)
}

// IngestionReader finds ingestions.
type IngestionReader interface {
	// Ingestions returns a page, the newest first, and the count of all that
	// the filter lets through.
	Ingestions(ctx context.Context, by polset.Principal, policySetID string, filter polset.VersionFilter, page polset.Page) ([]polset.Ingestion, int, error)
}

// Versions is what the version and ingestion endpoints need.
type Versions interface {
	VersionReader
	IngestionReader
}

// VersionCreator makes versions that wait for an upload.
type VersionCreator interface {
	// CreateVersion answers polset.ErrConflict for a policy set that follows a
	// repository.
	CreateVersion(ctx context.Context, by polset.Principal, policySetID string) (polset.Version, error)
}

// Uploader makes what clients upload ready, or says why it cannot be.
type Uploader interface {
	// Upload carries an archive into a version that waits for one, and returns
	// the version once it is ready or errored. It goes on when the client goes
	// away. The error is polset.ErrConflict where the version waits for none, a
	// *polset.Failure that may be retried where the same upload may succeed
	// later, and polset.ErrNotFound where the version is gone.
	Upload(ctx context.Context, by polset.Principal, versionID string, archive io.Reader) (polset.Version, error)
}

// Tokens knows who holds a secret.
type Tokens interface {
	// Authenticate answers polset.ErrUnauthorized for a secret that is wrong,
	// expired or revoked.
	Authenticate(ctx context.Context, secret string) (polset.Principal, error)
}

// Audit reads the audit chains.
type Audit interface {
	// AuditTrail returns a page of the chain of the principal's organization,
	// or of all chains for a site admin, the newest first, and the count of
	// all entries since then.
	AuditTrail(ctx context.Context, by polset.Principal, since time.Time, page polset.Page) ([]polset.AuditEntry, int, error)
}

// Heads looks at branches through git.
type Heads interface {
	// Head returns where the branch stands; "" asks for the default branch.
	// Where the branch does not exist, Commit is "".
	Head(ctx context.Context, remote polset.Remote, branch string) (polset.Head, error)
}

// Repositories asks GitHub's REST API.
type Repositories interface {
	Repository(ctx context.Context, remote polset.Remote) (polset.RepositoryFacts, error)
	// Reachable says whether a commit is in the history of a branch, which is
	// named by its short name.
	Reachable(ctx context.Context, remote polset.Remote, commit, branch string) (bool, error)
	// User returns the login of whom the remote's token belongs to.
	User(ctx context.Context, remote polset.Remote) (string, error)
}

// Objects holds the archives, and the code of policies, by their sha256.
type Objects interface {
	// Open returns the object's bytes and their number.
	Open(ctx context.Context, key string) (io.ReadCloser, int64, error)
	// Put stores the size bytes of r, read from its start, under key. It
	// returns nil only once they are durable.
	Put(ctx context.Context, key string, size int64, r io.ReadSeeker) error
}

// Config is what New needs. The interfaces, PublicURL and LinkKey are
// required; the zero value of everything else is useful.
type Config struct {
	Organizations  Organizations
	Projects       Projects
	Workspaces     Workspaces
	Configurations Configurations
	Runs           Runs
	Checks         Checks
	ToolVersions   ToolVersions
	Connections    Connections
	OAuthClients   OAuthClients
	Installations  Installations
	Apps           Apps
	SetupLinks     SetupLinks
	PolicySets     PolicySets
	Policies       Policies
	Related        Related
	Parameters     Parameters
	Actions        Actions
	Versions       Versions
	Tokens         Tokens
	TokenRecords   TokenRecords
	Audit          Audit
	Heads          Heads
	Repositories   Repositories
	Objects        Objects
	Uploads        VersionCreator
	Uploader       Uploader
	// VersionsInForce and Bundles are for OPA's agents.
	VersionsInForce VersionsInForce
	Bundles         Bundles

	// PublicURL is how clients reach this server, such as
	// https://polset.example.com. Links in documents begin with it.
	PublicURL string
	// LinkKey signs object links: 32 bytes, the same on every node.
	LinkKey []byte
	// BootstrapToken is a site admin's token that no row knows. Empty: none.
	BootstrapToken polset.Secret
	// GitHubURL is the operator's GitHub, the only address that may be plain
	// http. Empty: https://github.com.
	GitHubURL string
	// GitHubAPIURL is the API of the operator's GitHub, where it may be plain
	// http. Empty: only addresses below GitHubURL may.
	GitHubAPIURL string
	// HeadTimeout bounds the look at a branch and its repository when a policy
	// set begins to follow it, and when a commit of it is asked for. Zero: 10
	// seconds.
	HeadTimeout time.Duration
	// MaxArchiveBytes bounds the upload of an archive. Zero: 100 MiB.
	MaxArchiveBytes int64
	// SpoolDir holds uploads while they are received and worked on. Empty: the
	// system's directory for temporary files.
	SpoolDir string
	// UploadIdle is how long an upload may stay silent. Zero: 30 seconds.
	UploadIdle time.Duration
	// WatchInterval is how often it is looked whether another version is in force
	// of what agents wait for. Zero: a second.
	WatchInterval time.Duration
	// Conformance adds what only go-tfe's own tests need; see conformance.go.
	Conformance bool
	// RateLimiter limits requests of authenticated principals. Nil: no limit.
	RateLimiter RateLimiter
	// Logger receives one entry for each request. Nil: none.
	Logger *zap.Logger
	// Registerer receives the metrics. Nil: they are not exposed.
	Registerer prometheus.Registerer
	// Now is the clock of link expiry and of the failure limiter. Nil: time.Now.
	Now func() time.Time
}

// An API serves the JSON:API endpoints. It is safe for concurrent use.
type API struct {
	Config
	bootstrap [sha256.Size]byte
	attempts  *attempts
	receiving *places // of uploads
	documents *places // of large ones
	waiting   *places // of requests for the next bundle
	watch     *watch
	metrics   metrics
	routes    []Route

	description []byte // OpenAPI
}

const defaultGitHubURL = "https://github.com"

// New returns an API, or an error that names what the configuration lacks.
func New(cfg Config) (*API, error) {
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"Organizations", cfg.Organizations == nil},
		{"Projects", cfg.Projects == nil},
		{"Workspaces", cfg.Workspaces == nil},
		{"Configurations", cfg.Configurations == nil},
		{"Runs", cfg.Runs == nil},
		{"Checks", cfg.Checks == nil},
		{"ToolVersions", cfg.ToolVersions == nil},
		{"Connections", cfg.Connections == nil},
		{"OAuthClients", cfg.OAuthClients == nil},
		{"Installations", cfg.Installations == nil},
		{"Apps", cfg.Apps == nil},
		{"SetupLinks", cfg.SetupLinks == nil},
		{"PolicySets", cfg.PolicySets == nil},
		{"Policies", cfg.Policies == nil},
		{"Related", cfg.Related == nil},
		{"Parameters", cfg.Parameters == nil},
		{"Actions", cfg.Actions == nil},
		{"Versions", cfg.Versions == nil},
		{"Tokens", cfg.Tokens == nil},
		{"TokenRecords", cfg.TokenRecords == nil},
		{"Audit", cfg.Audit == nil},
		{"Heads", cfg.Heads == nil},
		{"Repositories", cfg.Repositories == nil},
		{"Objects", cfg.Objects == nil},
		{"Uploads", cfg.Uploads == nil},
		{"Uploader", cfg.Uploader == nil},
		{"VersionsInForce", cfg.VersionsInForce == nil},
		{"Bundles", cfg.Bundles == nil},
	} {
		if part.missing {
			return nil, fmt.Errorf("api configuration: %s is required", part.name)
		}
	}
	if len(cfg.LinkKey) != 32 {
		return nil, fmt.Errorf("api configuration: LinkKey is %d bytes, want 32", len(cfg.LinkKey))
	}
	// Webhook URLs are compared byte for byte by clients: no trailing slash.
	cfg.PublicURL = strings.TrimRight(cfg.PublicURL, "/")
	public, err := url.Parse(cfg.PublicURL)
	if err != nil || public.Host == "" || (public.Scheme != "http" && public.Scheme != "https") || public.User != nil {
		return nil, errors.New("api configuration: PublicURL must be an absolute http or https URL")
	}
	if cfg.GitHubURL == "" {
		cfg.GitHubURL = defaultGitHubURL
	}
	cfg.GitHubURL = strings.TrimRight(cfg.GitHubURL, "/")
	cfg.GitHubAPIURL = strings.TrimRight(cfg.GitHubAPIURL, "/")
	if cfg.HeadTimeout == 0 {
		cfg.HeadTimeout = 10 * time.Second
	}
	if cfg.MaxArchiveBytes == 0 {
		cfg.MaxArchiveBytes = 100 << 20
	}
	if cfg.UploadIdle == 0 {
		cfg.UploadIdle = 30 * time.Second
	}
	if cfg.WatchInterval == 0 {
		cfg.WatchInterval = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	a := &API{
		Config:    cfg,
		bootstrap: sha256.Sum256([]byte(cfg.BootstrapToken.Reveal())),
		attempts:  newAttempts(cfg.Now),
		receiving: newPlaces("uploads", maxReceiving, maxEach),
		documents: newPlaces("large documents", maxLargeBodies, maxEach),
		waiting:   newPlaces("waiting requests", maxWaiting, maxWaitingEach),
		watch:     newWatch(cfg.VersionsInForce.VersionsInForce, cfg.WatchInterval, cfg.Logger),
	}
	if a.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("register api metrics: %w", err)
	}
	a.routes = a.table()
	if a.description, err = describeRoutes(a.routes); err != nil {
		return nil, err
	}
	return a, nil
}
