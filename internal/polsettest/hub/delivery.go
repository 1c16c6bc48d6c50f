package hub

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/polset/polset/internal/polsettest"
)

// A Delivery is one attempt to tell a hook of an event.
type Delivery struct {
	ID           int64
	GUID         string
	Event        string
	Action       string
	App          int64 // whose hook it went to; 0: a repository's own
	Hook         int64 // the repository's hook
	Installation int64
	Repository   int64
	URL          string
	Body         []byte
	DeliveredAt  time.Time
	Redelivery   bool
	StatusCode   int    // of the answer; 502 where there was none, 504 where it took too long, 0 while it is under way
	Answer       string // the first KiB

	secret   string
	duration time.Duration
	header   http.Header
}

// Failed reports whether the hook did not take it.
func (d Delivery) Failed() bool { return d.StatusCode < 200 || d.StatusCode > 399 }

// firstDelivery is as large as GitHub's numbers of deliveries are: more than
// a float64 can tell apart.
const firstDelivery = 1_843_204_920_001_036_289

// send delivers in order, or keeps back. It returns when all have their
// answers. The caller does not hold the lock.
func (g *GitHub) send(deliveries ...*Delivery) {
	g.sending.Lock()
	defer g.sending.Unlock()
	for _, d := range deliveries {
		if d == nil {
			continue
		}
		g.mu.Lock()
		held := g.hold
		if held {
			g.held = append(g.held, d)
		}
		g.mu.Unlock()
		if !held {
			g.attempt(d)
		}
	}
}

// attempt sends one delivery and records what came of it.
func (g *GitHub) attempt(d *Delivery) {
	g.mu.Lock()
	d.ID = firstDelivery + int64(len(g.deliveries))*2
	d.DeliveredAt = g.clock().UTC()
	g.deliveries = append(g.deliveries, d)
	dropped := g.drop || g.outage.Deliveries
	g.mu.Unlock()
	status, answer := http.StatusBadGateway, ""
	start := time.Now()
	var header http.Header
	if !dropped {
		status, answer, header = g.post(d)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	d.StatusCode, d.Answer, d.header, d.duration = status, answer, header, time.Since(start)
}

func (g *GitHub) post(d *Delivery) (status int, answer string, sent http.Header) {
	request, err := polsettest.NewDelivery(g.ctx, d.URL, d.secret, d.Event, d.GUID, d.Body)
	if err != nil {
		return http.StatusBadGateway, err.Error(), nil
	}
	target, kind := d.App, "integration"
	hook := d.App + 1
	if d.Hook != 0 {
		target, kind, hook = d.Repository, "repository", d.Hook
	}
	request.Header.Set("X-GitHub-Hook-ID", strconv.FormatInt(hook, 10))
	request.Header.Set("X-GitHub-Hook-Installation-Target-ID", strconv.FormatInt(target, 10))
	request.Header.Set("X-GitHub-Hook-Installation-Target-Type", kind)
	if d.secret == "" {
		request.Header.Del("X-Hub-Signature")
		request.Header.Del("X-Hub-Signature-256")
	}
	response, err := g.client.Do(request)
	var late interface{ Timeout() bool }
	switch {
	case errors.As(err, &late) && late.Timeout():
		return http.StatusGatewayTimeout, err.Error(), request.Header
	case err != nil:
		return http.StatusBadGateway, err.Error(), request.Header
	}
	defer func() { _ = response.Body.Close() }() // it was read
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
	_, _ = io.Copy(io.Discard, response.Body) // so that the connection serves the next one
	return response.StatusCode, string(text), request.Header
}

// Deliveries returns every delivery to any hook, oldest first.
func (g *GitHub) Deliveries() []Delivery {
	g.mu.Lock()
	defer g.mu.Unlock()
	deliveries := make([]Delivery, len(g.deliveries))
	for i, d := range g.deliveries {
		deliveries[i] = *d
		deliveries[i].Body = bytes.Clone(d.Body)
	}
	return deliveries
}

// Redeliver sends a delivery again, as a person does in the settings: the
// same GUID, another ID.
func (g *GitHub) Redeliver(id int64) Delivery {
	g.t.Helper()
	g.mu.Lock()
	d := g.deliveryOf(id)
	g.mu.Unlock()
	if d == nil {
		g.t.Fatalf("there is no delivery %d", id)
	}
	return g.again(d)
}

func (g *GitHub) deliveryOf(id int64) *Delivery {
	at := slices.IndexFunc(g.deliveries, func(d *Delivery) bool { return d.ID == id })
	if at < 0 {
		return nil
	}
	return g.deliveries[at]
}

// again redelivers to where the hook is today.
func (g *GitHub) again(d *Delivery) Delivery {
	g.mu.Lock()
	again := &Delivery{
		GUID: d.GUID, Event: d.Event, Action: d.Action, App: d.App, Hook: d.Hook,
		Installation: d.Installation, Repository: d.Repository, URL: d.URL, Body: d.Body, Redelivery: true, secret: d.secret,
	}
	if at := slices.IndexFunc(g.apps, func(a *App) bool { return a.ID == d.App }); at >= 0 {
		again.URL = g.apps[at].config.HookURL
	}
	g.mu.Unlock()
	g.sending.Lock()
	g.attempt(again)
	g.sending.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	return *again
}

// Deliver sends any event to the App's hook, for payloads such as Examples.
func (g *GitHub) Deliver(app *App, event string, body []byte) Delivery {
	g.t.Helper()
	g.mu.Lock()
	payload := sub(decode(body))
	action, _ := payload["action"].(string)
	d := &Delivery{
		GUID: uuid.NewString(), Event: event, Action: action, Body: body,
		App: app.ID, URL: app.config.HookURL, secret: app.WebhookSecret,
		Installation: int64(number(sub(payload["installation"])["id"])),
		Repository:   int64(number(sub(payload["repository"])["id"])),
	}
	g.mu.Unlock()
	g.sending.Lock()
	g.attempt(d)
	g.sending.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	return *d
}

// DropDeliveries makes every delivery from now on fail as if the receiver
// were down: it is recorded with status 502 and never sent.
func (g *GitHub) DropDeliveries(drop bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop = drop
}

// HoldDeliveries keeps deliveries back until it is called with false, which
// sends them in order.
func (g *GitHub) HoldDeliveries(hold bool) {
	g.mu.Lock()
	g.hold = hold
	var held []*Delivery
	if !hold {
		held, g.held = g.held, nil
	}
	g.mu.Unlock()
	g.send(held...)
}
