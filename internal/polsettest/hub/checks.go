package hub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// A CheckRun is one, as GitHub shows it.
type CheckRun struct {
	ID          int64
	App         int64
	Name        string
	Commit      string
	Status      string // queued, in_progress, completed
	Conclusion  string
	DetailsURL  string
	ExternalID  string
	Title       string
	Summary     string
	Text        string
	Annotations []Annotation // of all requests, in order
	StartedAt   time.Time
	CompletedAt time.Time
	Updates     int // PATCHes that changed it

	app *App
}

// An Annotation is a remark at a place of a commit.
type Annotation struct {
	Path        string `json:"path"`
	StartLine   int    `json:"start_line"`
	EndLine     int    `json:"end_line"`
	StartColumn int    `json:"start_column"`
	EndColumn   int    `json:"end_column"`
	Level       string `json:"annotation_level"`
	Message     string `json:"message"`
	Title       string `json:"title"`
	RawDetails  string `json:"raw_details"`
}

// CheckRuns returns all check runs of a commit, oldest first.
func (r *Repository) CheckRuns(commit string) []CheckRun {
	r.github.mu.Lock()
	defer r.github.mu.Unlock()
	var found []CheckRun
	for _, c := range r.checks {
		if c.Commit == commit {
			run := *c
			run.Annotations = slices.Clone(c.Annotations)
			found = append(found, run)
		}
	}
	return found
}

// LatestCheckRuns returns the newest check run of each name, as the commit's
// page shows them.
func (r *Repository) LatestCheckRuns(commit string) map[string]CheckRun {
	latest := map[string]CheckRun{}
	for _, c := range r.CheckRuns(commit) {
		latest[c.Name] = c
	}
	return latest
}

func (q *inquiry) createCheckRun() reply {
	defer q.lock()()
	r, no := q.repository("checks", "write")
	if r == nil {
		return no
	}
	sha := text(q.body["head_sha"])
	if !commitID.MatchString(sha) || r.commit(sha) == "" {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	}
	c := &CheckRun{
		ID: q.github.next(), App: q.token.installation.app.ID, app: q.token.installation.app,
		Commit: sha, Status: "queued", StartedAt: q.github.now(),
	}
	r.checks = append(r.checks, c)
	q.apply(c)
	return reply{status: http.StatusCreated, body: q.checkObject(r, c)}
}

// checkRun is the one in the path, if whoever asks may do so much.
func (q *inquiry) checkRun(level string) (*Repository, *CheckRun, reply) {
	r, no := q.repository("checks", level)
	if r == nil {
		return nil, nil, no
	}
	for _, c := range r.checks {
		if strconv.FormatInt(c.ID, 10) == q.request.PathValue("check_run_id") {
			return r, c, reply{}
		}
	}
	return nil, nil, notFound()
}

func (q *inquiry) getCheckRun() reply {
	defer q.lock()()
	r, c, no := q.checkRun("read")
	if c == nil {
		return no
	}
	return reply{status: http.StatusOK, body: q.checkObject(r, c)}
}

func (q *inquiry) updateCheckRun() reply {
	defer q.lock()()
	r, c, no := q.checkRun("write")
	if c == nil {
		return no
	}
	if app := q.token.installation.app; app != c.app {
		return problem(http.StatusForbidden, fmt.Sprintf(
			"Invalid app_id `%d` - check run can only be modified by the GitHub App that created it.", app.ID))
	}
	c.Updates++
	q.apply(c)
	return reply{status: http.StatusOK, body: q.checkObject(r, c)}
}

// apply puts a body into a check run. Annotations are added to those that it
// has; what else is given replaces what was.
func (q *inquiry) apply(c *CheckRun) {
	set := func(field *string, from object, key string) {
		if value, ok := from[key].(string); ok {
			*field = value
		}
	}
	at := func(field *time.Time, key string) {
		if given, err := time.Parse(time.RFC3339, text(q.body[key])); err == nil {
			*field = given
		}
	}
	set(&c.Name, q.body, "name")
	set(&c.DetailsURL, q.body, "details_url")
	set(&c.ExternalID, q.body, "external_id")
	set(&c.Status, q.body, "status")
	if status, given := q.body["status"]; given && status != "completed" {
		c.Conclusion, c.CompletedAt = "", time.Time{} // it runs again
	}
	if conclusion := text(q.body["conclusion"]); conclusion != "" {
		c.Conclusion, c.Status, c.CompletedAt = conclusion, "completed", q.github.now()
	}
	at(&c.StartedAt, "started_at")
	at(&c.CompletedAt, "completed_at")
	output := sub(q.body["output"])
	set(&c.Title, output, "title")
	set(&c.Summary, output, "summary")
	set(&c.Text, output, "text")
	annotations, err := json.Marshal(output["annotations"])
	if err != nil {
		return // it came from JSON
	}
	var added []Annotation
	if err := json.Unmarshal(annotations, &added); err == nil {
		c.Annotations = append(c.Annotations, added...)
	}
}

func (q *inquiry) checkObject(r *Repository, c *CheckRun) object {
	api := fmt.Sprintf("%s/repos/%s/check-runs/%d", q.base, r.repo.Identifier, c.ID)
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	details := c.DetailsURL
	if details == "" {
		details = c.app.config.URL
	}
	return object{
		"id": c.ID, "node_id": node("CR", c.ID), "head_sha": c.Commit, "external_id": c.ExternalID, "url": api,
		"html_url": fmt.Sprintf("%s/%s/runs/%d", q.github.URL(), r.repo.Identifier, c.ID), "details_url": details,
		"status": c.Status, "conclusion": null(c.Conclusion),
		"started_at": stamp(c.StartedAt), "completed_at": stamp(c.CompletedAt),
		"output": object{
			"title": null(c.Title), "summary": null(c.Summary), "text": null(c.Text),
			"annotations_count": len(c.Annotations), "annotations_url": api + "/annotations",
		},
		"name": c.Name, "check_suite": object{"id": c.ID + 1_000_000_000}, "app": c.app.object(q.base),
		"pull_requests": []object{},
	}
}

func (q *inquiry) listCheckRuns() reply {
	defer q.lock()()
	r, no := q.repository("checks", "read")
	if r == nil {
		return no
	}
	ref := q.request.PathValue("ref")
	sha := r.commit(ref)
	if sha == "" {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+ref)
	}
	var found []*CheckRun
	for _, c := range slices.Backward(r.checks) { // newest first
		if c.Commit != sha ||
			q.query.Has("check_name") && c.Name != q.query.Get("check_name") ||
			q.query.Has("status") && c.Status != q.query.Get("status") ||
			q.query.Has("app_id") && strconv.FormatInt(c.App, 10) != q.query.Get("app_id") {
			continue
		}
		newer := slices.ContainsFunc(found, func(n *CheckRun) bool { return n.Name == c.Name && n.App == c.App })
		if newer && q.query.Get("filter") != "all" {
			continue
		}
		found = append(found, c)
	}
	list, header := page(q, found)
	objects := []object{}
	for _, c := range list {
		objects = append(objects, q.checkObject(r, c))
	}
	return reply{status: http.StatusOK, header: header, body: object{"total_count": len(found), "check_runs": objects}}
}
