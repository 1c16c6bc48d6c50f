package hub

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/polset/polset/internal/polsettest"
)

// A Hook is a repository's own webhook.
type Hook struct {
	ID          int64
	URL         string
	Secret      string
	ContentType string
	InsecureSSL string
	Events      []string
	Active      bool
}

// Hooks returns the repository's own hooks, oldest first.
func (r *Repository) Hooks() []Hook {
	r.github.mu.Lock()
	defer r.github.mu.Unlock()
	var hooks []Hook
	for _, h := range r.hooks {
		hook := *h
		hook.Events = slices.Clone(h.Events)
		hooks = append(hooks, hook)
	}
	return hooks
}

// AddHook makes a hook by hand, as a person does in the settings, and sends
// ping. Without events it hears push.
func (r *Repository) AddHook(url, secret string, events ...string) Hook {
	g := r.github
	g.t.Helper()
	if len(events) == 0 {
		events = []string{"push"}
	}
	g.mu.Lock()
	h := &Hook{ID: g.next(), URL: url, Secret: secret, ContentType: "json", InsecureSSL: "0", Events: events, Active: true}
	r.hooks = append(r.hooks, h)
	ping := g.ping(r, h)
	made := *h
	g.mu.Unlock()
	g.send(ping)
	return made
}

// DeleteHook removes a hook by hand.
func (r *Repository) DeleteHook(id int64) {
	r.github.mu.Lock()
	defer r.github.mu.Unlock()
	r.hooks = slices.DeleteFunc(r.hooks, func(h *Hook) bool { return h.ID == id })
}

// ping is what a new hook hears first.
func (g *GitHub) ping(r *Repository, h *Hook) *Delivery {
	payload := sub(decode(polsettest.PingEvent(polsettest.Push{Repository: r.repo.Identifier})))
	payload["hook_id"], payload["hook"] = h.ID, r.hookObject(h, g.APIURL())
	payload["repository"] = r.payload()
	delete(payload, "organization")
	if r.owner.kind == "Organization" {
		payload["organization"] = g.organizationObject(r.owner)
	}
	return g.tell(listener{hook: h}, r, "ping", "", payload)
}

func (r *Repository) hookObject(h *Hook, base string) object {
	api := fmt.Sprintf("%s/repos/%s/hooks/%d", base, r.repo.Identifier, h.ID)
	return object{
		"type": "Repository", "id": h.ID, "name": "web", "active": h.Active, "events": slices.Clone(h.Events),
		"config": h.config(), "created_at": stamp(r.created), "updated_at": stamp(r.created),
		"url": api, "test_url": api + "/test", "ping_url": api + "/pings", "deliveries_url": api + "/deliveries",
		"last_response": object{"code": nil, "status": "unused", "message": nil},
	}
}

// config hides the secret, as GitHub does.
func (h *Hook) config() object {
	config := object{"url": h.URL, "content_type": h.ContentType, "insecure_ssl": h.InsecureSSL}
	if h.Secret != "" {
		config["secret"] = "********"
	}
	return config
}

// configure puts a config into the hook. A whole one also takes away the
// secret that it does not name; a partial one keeps it.
func (h *Hook) configure(config object, whole bool) {
	set := func(field *string, key, otherwise string) {
		if value, given := config[key]; given {
			*field = fmt.Sprint(value)
		} else if whole {
			*field = otherwise
		}
	}
	set(&h.URL, "url", h.URL)
	set(&h.ContentType, "content_type", "form")
	set(&h.Secret, "secret", "")
	set(&h.InsecureSSL, "insecure_ssl", "0")
}

func (q *inquiry) listHooks() reply {
	defer q.lock()()
	r, no := q.repository("repository_hooks", "read")
	if r == nil {
		return no
	}
	list, header := page(q, r.hooks)
	objects := []object{}
	for _, h := range list {
		objects = append(objects, r.hookObject(h, q.base))
	}
	return reply{status: http.StatusOK, body: objects, header: header}
}

func (q *inquiry) createHook() reply {
	defer q.lock()()
	r, no := q.repository("repository_hooks", "write")
	if r == nil {
		return no
	}
	h := &Hook{Events: []string{"push"}, Active: true}
	h.configure(sub(q.body["config"]), true)
	if no := q.fillHook(r, h); no.status != 0 {
		return no
	}
	if name, given := q.body["name"]; given && name != "web" {
		return invalid("Hook", "name", "invalid", "")
	}
	h.ID = q.github.next()
	r.hooks = append(r.hooks, h)
	ping := q.github.ping(r, h)
	q.github.later(func() { q.github.send(ping) })
	return reply{status: http.StatusCreated, body: r.hookObject(h, q.base)}
}

// fillHook takes events and active from the body, and refuses what GitHub
// does. The reply is the zero one where all is well.
func (q *inquiry) fillHook(r *Repository, h *Hook) reply {
	if active, given := q.body["active"].(bool); given {
		h.Active = active
	}
	if events, given := q.body["events"].([]any); given {
		h.Events = texts(events)
	}
	if added, given := q.body["add_events"].([]any); given {
		h.Events = append(h.Events, texts(added)...)
	}
	if removed, given := q.body["remove_events"].([]any); given {
		h.Events = slices.DeleteFunc(h.Events, func(e string) bool { return slices.Contains(texts(removed), e) })
	}
	for _, event := range h.Events {
		if _, known := permissionFor[event]; !known && event != "*" {
			return invalid("Hook", "events", "custom", fmt.Sprintf("%q is not a valid event for this hook", event))
		}
	}
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return invalid("Hook", "url", "missing_field", "")
	}
	if h.ContentType != "json" && h.ContentType != "form" {
		return invalid("Hook", "content_type", "invalid", "")
	}
	for _, other := range r.hooks {
		if other.ID != h.ID && strings.EqualFold(other.URL, h.URL) {
			return invalid("Hook", "base", "custom", "Hook already exists on this repository")
		}
	}
	return reply{}
}

func texts(values []any) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = fmt.Sprint(v)
	}
	return list
}

// hook is the one in the path, if whoever asks may do so much.
func (q *inquiry) hook(level string) (*Repository, *Hook, reply) {
	r, no := q.repository("repository_hooks", level)
	if r == nil {
		return nil, nil, no
	}
	for _, h := range r.hooks {
		if strconv.FormatInt(h.ID, 10) == q.request.PathValue("hook_id") {
			return r, h, reply{}
		}
	}
	return nil, nil, notFound()
}

func (q *inquiry) getHook() reply {
	defer q.lock()()
	r, h, no := q.hook("read")
	if h == nil {
		return no
	}
	return reply{status: http.StatusOK, body: r.hookObject(h, q.base)}
}

func (q *inquiry) updateHook() reply {
	defer q.lock()()
	r, h, no := q.hook("write")
	if h == nil {
		return no
	}
	changed := *h
	changed.Events = slices.Clone(h.Events)
	if config, given := q.body["config"].(object); given {
		changed.configure(config, true)
	}
	if no := q.fillHook(r, &changed); no.status != 0 {
		return no
	}
	*h = changed
	return reply{status: http.StatusOK, body: r.hookObject(h, q.base)}
}

func (q *inquiry) deleteHook() reply {
	defer q.lock()()
	r, h, no := q.hook("admin")
	if h == nil {
		return no
	}
	r.hooks = slices.DeleteFunc(r.hooks, func(other *Hook) bool { return other == h })
	return reply{status: http.StatusNoContent}
}

func (q *inquiry) getHookConfig() reply {
	defer q.lock()()
	_, h, no := q.hook("read")
	if h == nil {
		return no
	}
	return reply{status: http.StatusOK, body: h.config()}
}

func (q *inquiry) updateHookConfig() reply {
	defer q.lock()()
	r, h, no := q.hook("write")
	if h == nil {
		return no
	}
	changed := *h
	changed.configure(q.body, false)
	q.body = object{}
	if no := q.fillHook(r, &changed); no.status != 0 {
		return no
	}
	*h = changed
	return reply{status: http.StatusOK, body: h.config()}
}
