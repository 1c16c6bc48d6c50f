package hub

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// apiVersion is the version of the REST API that polset speaks.
const apiVersion = "2022-11-28"

var mediaType = regexp.MustCompile(`^application/vnd\.github(\.[a-z0-9-]+)*\+json$`)

// malformed says what no client of GitHub may send, whatever its credential.
func (q *inquiry) malformed(body []byte) []string {
	return slices.Concat(q.wrongHeaders(), q.wrongParameters(), q.wrongBody(body))
}

func (q *inquiry) wrongHeaders() []string {
	var wrong []string
	header := q.request.Header
	accepted := slices.ContainsFunc(strings.Split(strings.Join(header.Values("Accept"), ","), ","), func(accept string) bool {
		media, _, err := mime.ParseMediaType(accept)
		return err == nil && mediaType.MatchString(media)
	})
	if !accepted {
		wrong = append(wrong, fmt.Sprintf("the header Accept is %q and names no application/vnd.github+json", header.Get("Accept")))
	}
	if version := header.Get("X-GitHub-Api-Version"); version != apiVersion {
		wrong = append(wrong, fmt.Sprintf("the header X-GitHub-Api-Version is %q, not %q", version, apiVersion))
	}
	switch agent := header.Get("User-Agent"); {
	case agent == "":
		wrong = append(wrong, "there is no header User-Agent")
	case strings.HasPrefix(agent, "Go-http-client"):
		wrong = append(wrong, fmt.Sprintf("the header User-Agent is %q, which names nobody", agent))
	}
	return wrong
}

// wrongParameters checks the parameters of path and query.
func (q *inquiry) wrongParameters() []string {
	d := q.github.description
	parameters, _ := q.operation["parameters"].([]any)
	known := map[string]bool{}
	var wrong []string
	for _, p := range parameters {
		parameter := d.follow(sub(p))
		name, place := fmt.Sprint(parameter["name"]), fmt.Sprint(parameter["in"])
		rule := sub(parameter["schema"])
		switch place {
		case "path":
			wrong = append(wrong, d.check(rule, parse(d, rule, q.request.PathValue(name)), "path."+name)...)
		case "query":
			known[name] = true
			values := q.query[name]
			switch {
			case len(values) == 0 && parameter["required"] == true:
				wrong = append(wrong, "query."+name+" is missing")
			case len(values) > 1:
				wrong = append(wrong, "query."+name+" is given more than once")
			case len(values) == 1:
				wrong = append(wrong, d.check(rule, parse(d, rule, values[0]), "query."+name)...)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(q.query)) {
		if !known[name] {
			wrong = append(wrong, "query."+name+": GitHub knows no such parameter")
		}
	}
	// The description says this of per_page in words only.
	if pages := q.query.Get("per_page"); pages != "" && (len(pages) > 3 || len(pages) == 3 && pages != "100") {
		wrong = append(wrong, "query.per_page: "+pages+" is more than 100")
	}
	return wrong
}

// parse reads the text of a parameter as its schema has it.
func parse(d *description, rule schema, text string) any {
	switch d.flat(rule)["type"] {
	case "integer", "number":
		if v, ok := decode([]byte(text)).(json.Number); ok {
			return v
		}
	case "boolean":
		if v, ok := decode([]byte(text)).(bool); ok {
			return v
		}
	}
	return text
}

func (q *inquiry) wrongBody(body []byte) []string {
	d := q.github.description
	described := sub(q.operation["requestBody"])
	if len(body) == 0 {
		if described["required"] == true {
			return []string{"body: it is missing"}
		}
		return nil
	}
	if described == nil {
		// go-github sends an empty object where others send nothing.
		return []string{"body: GitHub expects none"}
	}
	media, _, err := mime.ParseMediaType(q.request.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return []string{fmt.Sprintf("the header Content-Type is %q, not application/json", q.request.Header.Get("Content-Type"))}
	}
	value, err := decodeAll(body)
	if err != nil {
		return []string{"body: " + err.Error()}
	}
	s := jsonSchema(described)
	wrong := slices.Concat(d.check(s, value, "body"), d.unknown(s, value, "body"))
	fields, _ := value.(object)
	return append(wrong, unwritten(q.call.Route, fields)...)
}

// unwritten are limits of GitHub's that its description has not, or only in
// words.
func unwritten(route string, body object) []string {
	var wrong []string
	longest := func(field string, characters int) {
		if text, _ := body[field].(string); utf8.RuneCountInString(text) > characters {
			wrong = append(wrong, fmt.Sprintf("body.%s: %d characters are more than %d", field, utf8.RuneCountInString(text), characters))
		}
	}
	switch route {
	case "POST /repos/{owner}/{repo}/statuses/{sha}":
		longest("description", 140)
		longest("context", 255)
	case "POST /repos/{owner}/{repo}/check-runs":
		if body["status"] == "completed" && body["conclusion"] == nil {
			wrong = append(wrong, "body.conclusion: a completed check run needs one")
		}
	case "PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}":
		if body["status"] == "completed" && body["conclusion"] == nil {
			wrong = append(wrong, "body.conclusion: a completed check run needs one")
		}
		if output, ok := body["output"].(object); ok && output["title"] == nil {
			wrong = append(wrong, "body.output.title is missing")
		}
	}
	return append(wrong, wrongAnnotations(sub(body["output"]))...)
}

// wrongAnnotations says which annotations GitHub would not show.
func wrongAnnotations(output object) []string {
	list, _ := output["annotations"].([]any)
	var wrong []string
	for i, item := range list {
		a := sub(item)
		at := fmt.Sprintf("body.output.annotations[%d]", i)
		start, end := number(a["start_line"]), number(a["end_line"])
		switch {
		case start < 1 || end < start:
			wrong = append(wrong, fmt.Sprintf("%s: lines %d to %d are none", at, start, end))
		case start != end && (a["start_column"] != nil || a["end_column"] != nil):
			wrong = append(wrong, at+": columns belong to annotations of one line only")
		case number(a["end_column"]) < number(a["start_column"]):
			wrong = append(wrong, at+": end_column is before start_column")
		}
		if path := fmt.Sprint(a["path"]); strings.HasPrefix(path, "/") || path == "" {
			wrong = append(wrong, at+".path: it is not relative to the repository")
		}
		for field, limit := range map[string]int{"message": 64 << 10, "raw_details": 64 << 10, "title": 255} {
			if text, _ := a[field].(string); len(text) > limit {
				wrong = append(wrong, fmt.Sprintf("%s.%s: %d bytes are more than %d", at, field, len(text), limit))
			}
		}
	}
	return wrong
}

// invalidForm is GitHub's answer to a malformed request.
func invalidForm(wrong []string) reply {
	return reply{status: http.StatusUnprocessableEntity, body: object{
		"message":           "Invalid request.\n\n" + strings.Join(wrong, "\n"),
		"documentation_url": "https://docs.github.com/rest", "status": "422",
	}}
}

// decodeAll reads one JSON value and nothing behind it.
func decodeAll(text []byte) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF { //nolint:errorlint // EOF is never wrapped here
		return nil, fmt.Errorf("there is more behind it")
	}
	return v, nil
}
