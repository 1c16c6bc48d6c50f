package hub

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/polset/polset"
)

// AppConfig describes an App. Zero values: polset's own name, permissions and
// events, owned by octocat.
type AppConfig struct {
	Owner                 *Account
	Name                  string
	Description           string
	URL                   string // its home page
	HookURL               string // "": it hears nothing
	WebhookSecret         string // "": a random one
	CallbackURLs          []string
	SetupURL              string
	RequestOAuthOnInstall bool
	Public                bool
	Permissions           map[string]string // nil: polset.AppPermissions
	Events                []string          // nil: polset.AppEvents
}

// An App is a GitHub App. Its exported fields do not change.
type App struct {
	ID            int64
	Slug          string
	Name          string
	ClientID      string
	ClientSecret  string
	WebhookSecret string
	PEM           string // the private key

	github  *GitHub
	key     *rsa.PublicKey
	created time.Time
	config  AppConfig // under the lock of the GitHub
}

// CreateApp makes an App without the browser.
func (g *GitHub) CreateApp(config AppConfig) *App {
	g.t.Helper()
	if config.Owner == nil {
		config.Owner = g.User("octocat")
	}
	if config.Permissions == nil {
		config.Permissions = polset.AppPermissions()
	}
	if config.Events == nil {
		config.Events = polset.AppEvents()
	}
	config.Name = cmp.Or(config.Name, "polset")
	config.URL = cmp.Or(config.URL, "https://polset.example.com")
	config.WebhookSecret = cmp.Or(config.WebhookSecret, g.secret(20))
	app, err := g.newApp(config)
	if err != nil {
		g.t.Fatal(err)
	}
	return app
}

// keyring keeps the Apps' keys for the whole process: the first App of each
// GitHub has the same one, since making one takes longer than most tests.
type keyring struct {
	mu   sync.Mutex
	made []*rsa.PrivateKey
}

var keys keyring

func (k *keyring) key(number int) (*rsa.PrivateKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.made) <= number {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		k.made = append(k.made, key)
	}
	return k.made[number], nil
}

var notInSlug = regexp.MustCompile(`[^a-z0-9]+`)

func (g *GitHub) newApp(config AppConfig) (*App, error) {
	slug := strings.Trim(notInSlug.ReplaceAllString(strings.ToLower(config.Name), "-"), "-")
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.ContainsFunc(g.apps, func(a *App) bool { return a.Slug == slug }) {
		return nil, fmt.Errorf("the name %q is taken by another App", config.Name)
	}
	key, err := keys.key(len(g.apps))
	if err != nil {
		return nil, fmt.Errorf("make the App's key: %w", err)
	}
	app := &App{
		ID: g.next(), Slug: slug, Name: config.Name,
		ClientID: "Iv23li" + g.secret(7), ClientSecret: g.secret(20), WebhookSecret: config.WebhookSecret,
		PEM: string(pem.EncodeToMemory(&pem.Block{
			Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key),
		})),
		github: g, key: &key.PublicKey, created: g.now(), config: config,
	}
	app.config.Permissions = maps.Clone(config.Permissions)
	app.config.Permissions["metadata"] = "read" // every App has it
	g.apps = append(g.apps, app)
	return app, nil
}

// secret is so many random bytes, in hexadecimal.
func (g *GitHub) secret(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Apps returns every App, those that came from manifests too, oldest first.
func (g *GitHub) Apps() []*App {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.apps)
}

// Config is how the App is today.
func (a *App) Config() AppConfig {
	a.github.mu.Lock()
	defer a.github.mu.Unlock()
	config := a.config
	config.Permissions = maps.Clone(config.Permissions)
	config.Events = slices.Clone(config.Events)
	config.CallbackURLs = slices.Clone(config.CallbackURLs)
	return config
}

// Credentials are what polset is to know of the App.
func (a *App) Credentials() polset.App {
	a.github.mu.Lock()
	defer a.github.mu.Unlock()
	return polset.App{
		ID: a.ID, ClientID: a.ClientID, Slug: a.Slug, Name: a.Name, Owner: a.config.Owner.login,
		HTMLURL: a.htmlURL(), HTTPURL: a.github.URL(),
		PrivateKey: polset.NewSecret(a.PEM), WebhookSecret: polset.NewSecret(a.WebhookSecret), ClientSecret: polset.NewSecret(a.ClientSecret),
		CreatedAt: a.created,
	}
}

func (a *App) htmlURL() string { return a.github.URL() + "/apps/" + a.Slug }

// SetHookURL changes where the App's events go; "" for nowhere.
func (a *App) SetHookURL(url string) {
	a.github.mu.Lock()
	defer a.github.mu.Unlock()
	a.config.HookURL = url
}

// SetPermissions changes what the App asks for. Its installations keep what
// they have until AcceptPermissions.
func (a *App) SetPermissions(permissions map[string]string) {
	a.github.mu.Lock()
	defer a.github.mu.Unlock()
	a.config.Permissions = maps.Clone(permissions)
	a.config.Permissions["metadata"] = "read"
}

// Deliveries returns what was sent to the App's hook, oldest first.
func (a *App) Deliveries() []Delivery {
	return slices.DeleteFunc(a.github.Deliveries(), func(d Delivery) bool { return d.App != a.ID })
}
