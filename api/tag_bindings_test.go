package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	_ = probe("POST /workspaces/:workspace/relationships/tag-bindings", tagsBody)
	_ = probe("PATCH /workspaces/:workspace/relationships/tag-bindings", tagsBody)
	_ = probe("POST /projects/:project/relationships/tag-bindings", tagsBody)
	_ = probe("PATCH /projects/:project/relationships/tag-bindings", tagsBody)
)

// TestTagRelationships tags at the paths of HashiCorp's description.
func TestTagRelationships(t *testing.T) {
	w := newWorld(t)
	for _, tagged := range []string{"/workspaces/" + w.guarded("acme", "network").ID, "/projects/" + w.grouping("acme", "platform").ID} {
		path := tagged + "/relationships/tag-bindings"
		for _, step := range []struct {
			method, tags string
			want         []string
		}{
			{"POST", "env=prod team=net", []string{"env=prod", "team=net"}},
			{"POST", "env=test cost=", []string{"cost=", "env=test", "team=net"}},
			{"PATCH", "env=prod", []string{"env=prod"}},
			{"PATCH", "", []string{}}, // what the provider sends when a configuration names no tags
			{"PATCH", "a=1 b=2", []string{"a=1", "b=2"}},
		} {
			var data []string
			for _, tag := range strings.Fields(step.tags) {
				key, value, _ := strings.Cut(tag, "=")
				data = append(data, fmt.Sprintf(`{"type":"tag-bindings","attributes":{"key":%q,"value":%q}}`, key, value))
			}
			if a := w.ask(w.acme, step.method, path, `{"data":[`+strings.Join(data, ",")+`]}`); a.status != http.StatusNoContent || a.body != "" {
				t.Fatalf("%s %s %q: %d %s", step.method, path, step.tags, a.status, a.body)
			}
			for _, path := range []string{path, tagged + "/tag-bindings"} {
				if diff := cmp.Diff(step.want, tagsAt(t, w, path)); diff != "" {
					t.Errorf("%s after %s %q (-want +got):\n%s", path, step.method, step.tags, diff)
				}
			}
		}
		problemsOf(t, w.ask(w.acme, "PATCH", path, `{"data":[{"type":"tag-bindings","attributes":{"key":""}}]}`), http.StatusUnprocessableEntity)
		if diff := cmp.Diff([]string{"a=1", "b=2"}, tagsAt(t, w, path)); diff != "" {
			t.Errorf("%s after a refusal (-want +got):\n%s", path, diff)
		}
	}
}

// tagsAt lists tags as key=value, sorted.
func tagsAt(t *testing.T, w *world, path string) []string {
	t.Helper()
	var doc struct {
		Data []struct{ Attributes struct{ Key, Value string } }
	}
	if err := json.Unmarshal([]byte(w.ask(w.acme, "GET", path, "").body), &doc); err != nil {
		t.Fatal(err)
	}
	tags := []string{}
	for _, tag := range doc.Data {
		tags = append(tags, tag.Attributes.Key+"="+tag.Attributes.Value)
	}
	slices.Sort(tags)
	return tags
}

// TestProjectWithoutType has a workspace name its project as version 2 of
// go-tfe does.
func TestProjectWithoutType(t *testing.T) {
	w := newWorld(t)
	project := w.grouping("acme", "platform").ID
	body := `{"data":{"type":"workspaces","attributes":{"name":"typeless"},"relationships":{"project":{"data":{"id":"` + project + `"}}}}}`
	a := w.ask(w.acme, "POST", "/organizations/acme/workspaces", body)
	if a.status != http.StatusCreated || !strings.Contains(a.body, `"project":{"data":{"id":"`+project+`","type":"projects"}`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	problemsOf(t, w.ask(w.acme, "POST", "/organizations/acme/workspaces", strings.Replace(strings.Replace(body, "typeless", "mistaken", 1), `{"id"`, `{"type":"teams","id"`, 1)), http.StatusConflict)
}
