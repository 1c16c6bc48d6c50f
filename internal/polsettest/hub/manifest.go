package hub

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A manifestCode is what an App's credentials can be had for, once.
type manifestCode struct {
	app     *App
	expires time.Time
}

// manifestFields are those of the manifest flow's documentation, with the
// types that they must have.
var manifestFields = map[string]string{
	"name": "string", "url": "string", "hook_attributes": "object", "redirect_url": "string",
	"callback_urls": "array", "setup_url": "string", "description": "string", "public": "boolean",
	"default_events": "array", "default_permissions": "object", "request_oauth_on_install": "boolean",
	"setup_on_update": "boolean",
}

// A manifest is an App that is about to be made.
type manifest struct {
	config   AppConfig
	redirect string
}

// readManifest says what is wrong with a manifest.
func (g *GitHub) readManifest(given string) (manifest, []string) {
	value, err := decodeAll([]byte(given))
	fields, ok := value.(object)
	if err != nil || !ok {
		return manifest{}, []string{"the manifest is no JSON object"}
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if kind := manifestFields[name]; kind == "" {
			wrong = append(wrong, name+": GitHub knows no such field")
		} else if !hasType(kind, fields[name]) {
			wrong = append(wrong, name+": it is no "+kind)
		}
	}
	hook := sub(fields["hook_attributes"])
	config := AppConfig{
		Name: text(fields["name"]), Description: text(fields["description"]), URL: text(fields["url"]),
		SetupURL: text(fields["setup_url"]), HookURL: text(hook["url"]),
		RequestOAuthOnInstall: fields["request_oauth_on_install"] == true, Public: fields["public"] == true,
		Permissions: map[string]string{}, WebhookSecret: g.secret(20),
	}
	if utf8.RuneCountInString(config.Name) > 34 {
		wrong = append(wrong, "name: it is longer than 34 characters")
	}
	for name, value := range sub(fields["default_permissions"]) {
		config.Permissions[name] = text(value)
	}
	permissions := schema{"$ref": "#/components/schemas/app-permissions"}
	given2 := fields["default_permissions"]
	if given2 != nil {
		wrong = append(wrong, g.description.check(permissions, given2, "default_permissions")...)
		wrong = append(wrong, g.description.unknown(permissions, given2, "default_permissions")...)
	}
	events, _ := fields["default_events"].([]any)
	for _, event := range texts(events) {
		config.Events = append(config.Events, event)
		switch needed := permissionFor[event]; {
		case needed == "":
			wrong = append(wrong, "default_events: "+event+" is none that an App can subscribe to")
		case config.Permissions[needed] == "" && needed != "metadata":
			wrong = append(wrong, fmt.Sprintf("default_events: %s needs the permission %s", event, needed))
		}
	}
	if hook["active"] == false {
		config.HookURL = ""
	}
	callbacks, _ := fields["callback_urls"].([]any)
	config.CallbackURLs = texts(callbacks)
	if len(callbacks) > 10 {
		wrong = append(wrong, "callback_urls: they are more than 10")
	}
	if config.RequestOAuthOnInstall && config.SetupURL != "" {
		wrong = append(wrong, "setup_url: it is of no use beside request_oauth_on_install")
	}
	if config.RequestOAuthOnInstall && len(callbacks) == 0 {
		wrong = append(wrong, "callback_urls: request_oauth_on_install needs one")
	}
	wrong = append(wrong, wrongURL("url", config.URL, true)...)
	wrong = append(wrong, wrongURL("hook_attributes.url", text(hook["url"]), len(hook) > 0)...)
	wrong = append(wrong, wrongURL("redirect_url", text(fields["redirect_url"]), true)...)
	wrong = append(wrong, wrongURL("setup_url", config.SetupURL, false)...)
	for _, callback := range config.CallbackURLs {
		wrong = append(wrong, wrongURL("callback_urls", callback, true)...)
	}
	return manifest{config: config, redirect: text(fields["redirect_url"])}, wrong
}

func wrongURL(field, given string, required bool) []string {
	if given == "" && !required {
		return nil
	}
	u, err := url.Parse(given)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" {
		return []string{fmt.Sprintf("%s: %q is no web address", field, given)}
	}
	return nil
}

// convertManifest gives out the credentials.
func (q *inquiry) convertManifest() reply {
	defer q.lock()()
	g := q.github
	code := g.manifests[q.request.PathValue("code")]
	if code == nil || !g.clock().Before(code.expires) {
		return notFound()
	}
	delete(g.manifests, q.request.PathValue("code"))
	o := code.app.object(q.base)
	maps.Copy(o, object{
		"client_id": code.app.ClientID, "client_secret": code.app.ClientSecret,
		"webhook_secret": code.app.WebhookSecret, "pem": code.app.PEM,
	})
	return reply{status: http.StatusCreated, body: o}
}

// withQuery adds parameters to an address: key, value, key, value …; those
// without a value are left out.
func withQuery(address string, pairs ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			values.Set(pairs[i], pairs[i+1])
		}
	}
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	return address + separator + values.Encode()
}
