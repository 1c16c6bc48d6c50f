package hub

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// page is the part of a list that was asked for, and the header Link.
func page[T any](q *inquiry, items []T) ([]T, http.Header) {
	size, number := 30, 1
	if n, err := strconv.Atoi(q.query.Get("per_page")); err == nil && n > 0 {
		size = n
	}
	if n, err := strconv.Atoi(q.query.Get("page")); err == nil && n > 0 {
		number = n
	}
	last := max((len(items)+size-1)/size, 1)
	var links []string
	link := func(relation string, to int) {
		links = append(links, q.link(relation, "page", strconv.Itoa(to)))
	}
	if number > 1 {
		link("prev", number-1)
	}
	if number < last {
		link("next", number+1)
		link("last", last)
	}
	if number > 1 {
		link("first", 1)
	}
	from := min((number-1)*size, len(items))
	return append([]T{}, items[from:min(from+size, len(items))]...), linked(links)
}

func (q *inquiry) link(relation, parameter, value string) string {
	query := maps.Clone(q.query)
	if query == nil {
		query = url.Values{}
	}
	query.Set(parameter, value)
	return fmt.Sprintf(`<%s%s?%s>; rel=%q`, q.base, q.request.URL.EscapedPath(), query.Encode(), relation)
}

func linked(links []string) http.Header {
	if len(links) == 0 {
		return nil
	}
	return http.Header{"Link": {strings.Join(links, ", ")}}
}

func (q *inquiry) lock() func() {
	q.github.mu.Lock()
	return q.github.mu.Unlock
}

func (q *inquiry) getApp() reply {
	defer q.lock()()
	o := q.app.object(q.base)
	o["installations_count"] = len(q.installations())
	return reply{status: http.StatusOK, body: o}
}

// installations are the App's, oldest first.
func (q *inquiry) installations() []*Installation {
	return slices.DeleteFunc(slices.Clone(q.github.installations), func(i *Installation) bool {
		return i.app != q.app || i.deleted
	})
}

func (q *inquiry) listInstallations() reply {
	defer q.lock()()
	list, header := page(q, q.installations())
	objects := []object{}
	for _, i := range list {
		objects = append(objects, i.object(q.base))
	}
	return reply{status: http.StatusOK, body: objects, header: header}
}

// installation is the one in the path, nil where the App has no such.
func (q *inquiry) installation() *Installation {
	for _, i := range q.installations() {
		if strconv.FormatInt(i.id, 10) == q.request.PathValue("installation_id") {
			return i
		}
	}
	return nil
}

func (q *inquiry) getInstallation() reply {
	defer q.lock()()
	i := q.installation()
	if i == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: i.object(q.base)}
}

func (q *inquiry) getRepositoryInstallation() reply {
	defer q.lock()()
	identifier := q.request.PathValue("owner") + "/" + q.request.PathValue("repo")
	r := q.github.at(identifier)
	moved := r == nil
	if moved {
		r = q.github.moved[strings.ToLower(identifier)]
	}
	if r == nil {
		return notFound()
	}
	for _, i := range q.installations() {
		if i.includes(r) {
			if moved {
				return q.redirect(r)
			}
			return reply{status: http.StatusOK, body: i.object(q.base)}
		}
	}
	return notFound()
}

// createToken narrows as the body says, and never widens.
func (q *inquiry) createToken() reply {
	defer q.lock()()
	i := q.installation()
	switch {
	case i == nil:
		return notFound()
	case !i.suspended.IsZero():
		return problem(http.StatusForbidden, "This installation has been suspended")
	}
	repositories, ok := q.narrowed(i)
	if !ok {
		return problem(http.StatusUnprocessableEntity,
			"There is at least one repository that does not exist or is not accessible to the parent installation.")
	}
	permissions := maps.Clone(i.permissions)
	if asked, narrowed := q.body["permissions"].(object); narrowed && len(asked) > 0 {
		permissions = map[string]string{"metadata": "read"}
		for name, level := range asked {
			permissions[name] = fmt.Sprint(level)
			if !atLeast(i.permissions[name], permissions[name]) {
				return problem(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
			}
		}
	}
	t := i.token(repositories, permissions)
	selection := i.selection()
	body := object{"token": t.Token, "expires_at": stamp(t.ExpiresAt), "permissions": permissions}
	if repositories != nil {
		selection = "selected"
		objects := []object{}
		for _, r := range i.repositories() {
			if slices.Contains(repositories, r.id) {
				objects = append(objects, r.object(q.base))
			}
		}
		body["repositories"] = objects
	}
	body["repository_selection"] = selection
	return reply{status: http.StatusCreated, body: body}
}

// narrowed are the numbers of the repositories that the body names, nil where
// it names none.
func (q *inquiry) narrowed(i *Installation) ([]int64, bool) {
	var numbers []int64
	included := i.repositories()
	names, _ := q.body["repositories"].([]any)
	for _, name := range names {
		at := slices.IndexFunc(included, func(r *Repository) bool { return strings.EqualFold(r.name(), fmt.Sprint(name)) })
		if at < 0 {
			return nil, false
		}
		numbers = append(numbers, included[at].id)
	}
	ids, _ := q.body["repository_ids"].([]any)
	for _, id := range ids {
		at := slices.IndexFunc(included, func(r *Repository) bool { return strconv.FormatInt(r.id, 10) == fmt.Sprint(id) })
		if at < 0 {
			return nil, false
		}
		numbers = append(numbers, included[at].id)
	}
	return numbers, true
}

func (q *inquiry) revokeToken() reply {
	defer q.lock()()
	q.token.Revoked = true
	return reply{status: http.StatusNoContent}
}

func (q *inquiry) listInstallationRepositories() reply {
	defer q.lock()()
	var included []*Repository
	for _, r := range q.token.installation.repositories() {
		if q.token.covers(r) {
			included = append(included, r)
		}
	}
	list, header := page(q, included)
	objects := []object{}
	for _, r := range list {
		objects = append(objects, r.object(q.base))
	}
	return reply{status: http.StatusOK, header: header, body: object{
		"total_count": len(included), "repository_selection": q.token.installation.selection(), "repositories": objects,
	}}
}

func (q *inquiry) getUser() reply {
	defer q.lock()()
	o := sub(q.github.description.example("private-user-response-with-public-and-private-profile-information"))
	maps.Copy(o, q.github.userObject(q.token.user, q.base))
	o["name"], o["email"] = q.token.user.login, q.token.user.login+"@example.com"
	return reply{status: http.StatusOK, body: o}
}

// listUserInstallations are those of the App that the person authorized, on
// accounts of which they may see a repository or which they own.
func (q *inquiry) listUserInstallations() reply {
	defer q.lock()()
	if q.token.Kind != "user" {
		return problem(http.StatusForbidden, "You must authenticate with an access token authorized to a GitHub App in order to list installations")
	}
	var seen []*Installation
	for _, i := range q.github.installations {
		reaches := q.token.user.owns(i.account) || slices.ContainsFunc(i.repositories(), func(r *Repository) bool {
			return r.right(q.token.user) != ""
		})
		if i.app == q.token.app && !i.deleted && reaches {
			seen = append(seen, i)
		}
	}
	list, header := page(q, seen)
	objects := []object{}
	for _, i := range list {
		objects = append(objects, i.object(q.base))
	}
	return reply{status: http.StatusOK, header: header, body: object{"total_count": len(seen), "installations": objects}}
}

// kept is how long GitHub remembers deliveries.
const kept = 3 * 24 * time.Hour

// ownDeliveries are those to the App's hook that GitHub still remembers and
// that have ended, newest first.
func (q *inquiry) ownDeliveries() []*Delivery {
	own := slices.DeleteFunc(slices.Clone(q.github.deliveries), func(d *Delivery) bool {
		return d.App != q.app.ID || d.StatusCode == 0 || d.DeliveredAt.Before(q.github.clock().Add(-kept))
	})
	slices.Reverse(own)
	return own
}

func (q *inquiry) listDeliveries() reply {
	defer q.lock()()
	size := 30
	if n, err := strconv.Atoi(q.query.Get("per_page")); err == nil && n > 0 {
		size = n
	}
	own := q.ownDeliveries()
	if wanted := q.query.Get("status"); wanted != "" {
		own = slices.DeleteFunc(own, func(d *Delivery) bool { return d.Failed() != (wanted == "failure") })
	}
	from := 0
	if cursor := q.query.Get("cursor"); cursor != "" {
		text, ok := strings.CutPrefix(cursor, "v1_")
		id, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil {
			return problem(http.StatusBadRequest, "Invalid cursor")
		}
		// By number, so that what came meanwhile moves no page.
		if from = slices.IndexFunc(own, func(d *Delivery) bool { return d.ID <= id }); from < 0 {
			from = len(own)
		}
	}
	to := min(from+size, len(own))
	var links []string
	if to < len(own) {
		links = append(links, q.link("next", "cursor", "v1_"+strconv.FormatInt(own[to].ID, 10)))
	}
	objects := []object{}
	for _, d := range own[from:to] {
		objects = append(objects, d.object())
	}
	return reply{status: http.StatusOK, body: objects, header: linked(links)}
}

func (d *Delivery) object() object {
	status := http.StatusText(d.StatusCode)
	if d.Answer == "" && d.StatusCode == http.StatusBadGateway {
		status = "failed to connect to host"
	}
	o := object{
		"id": d.ID, "guid": d.GUID, "delivered_at": d.DeliveredAt.Format(time.RFC3339Nano), "redelivery": d.Redelivery,
		"duration": d.duration.Seconds(), "status": status, "status_code": d.StatusCode, "event": d.Event,
		"action": nil, "installation_id": nil, "repository_id": nil, "throttled_at": nil,
	}
	if d.Action != "" {
		o["action"] = d.Action
	}
	if d.Installation != 0 {
		o["installation_id"] = d.Installation
	}
	if d.Repository != 0 {
		o["repository_id"] = d.Repository
	}
	return o
}

// ownDelivery is the one in the path, nil where the App has no such.
func (q *inquiry) ownDelivery() *Delivery {
	for _, d := range q.ownDeliveries() {
		if strconv.FormatInt(d.ID, 10) == q.request.PathValue("delivery_id") {
			return d
		}
	}
	return nil
}

func (q *inquiry) getDelivery() reply {
	defer q.lock()()
	d := q.ownDelivery()
	if d == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	headers := object{}
	for key := range d.header {
		if !strings.HasPrefix(key, "X-Hub-Signature") {
			headers[key] = d.header.Get(key)
		}
	}
	o := d.object()
	o["url"] = d.URL
	o["request"] = object{"headers": headers, "payload": json.RawMessage(d.Body)}
	o["response"] = object{"headers": object{}, "payload": d.Answer}
	return reply{status: http.StatusOK, body: o}
}

func (q *inquiry) redeliver() reply {
	defer q.lock()()
	d := q.ownDelivery()
	if d == nil {
		return notFound()
	}
	q.github.later(func() { q.github.again(d) })
	return reply{status: http.StatusAccepted, body: object{}}
}
