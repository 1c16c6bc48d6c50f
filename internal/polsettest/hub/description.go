package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A description is GitHub's own one of its API, from the npm package
// @octokit/openapi. Schemas are decoded when they are first used: most of its
// thirteen megabytes never are.
type description struct {
	paths      map[string]json.RawMessage
	hooks      map[string]json.RawMessage
	components map[string]map[string]json.RawMessage

	mu       sync.Mutex
	resolved map[string]schema // by reference
	called   map[string]object // operations, by method and path
}

// Each is read once a process.
var (
	readDescription = sync.OnceValues(loadDescription)
	readExamples    = sync.OnceValues(loadExamples)
)

func loadDescription() (*description, error) {
	text, err := readFetched("api.github.com.json")
	if err != nil {
		return nil, err
	}
	var file struct {
		Paths      map[string]json.RawMessage
		Hooks      map[string]json.RawMessage `json:"x-webhooks"`
		Components map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read GitHub's description: %w", err)
	}
	return &description{
		paths: file.Paths, hooks: file.Hooks, components: file.Components,
		resolved: map[string]schema{}, called: map[string]object{},
	}, nil
}

// An Example is one of octokit's example payloads.
type Example struct {
	Event  string
	Action string
	Body   []byte
}

// Examples returns every example payload of octokit's, in its order.
func Examples(t testing.TB) []Example {
	t.Helper()
	examples, err := readExamples()
	if err != nil {
		t.Fatal(err)
	}
	return append([]Example(nil), examples...)
}

func loadExamples() ([]Example, error) {
	text, err := readFetched("webhooks.json")
	if err != nil {
		return nil, err
	}
	var events []struct {
		Name     string
		Examples []json.RawMessage
	}
	if err := json.Unmarshal(text, &events); err != nil {
		return nil, fmt.Errorf("read the example payloads: %w", err)
	}
	var examples []Example
	for _, event := range events {
		for _, body := range event.Examples {
			var head struct{ Action string }
			if err := json.Unmarshal(body, &head); err != nil {
				return nil, fmt.Errorf("read an example of %s: %w", event.Name, err)
			}
			examples = append(examples, Example{event.Name, head.Action, body})
		}
	}
	return examples, nil
}

// readFetched reads what the make target has put into testdata/github.
func readFetched(name string) ([]byte, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return nil, errors.New("find the checkout: there is no go.mod above the working directory")
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "testdata", "github", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("run make github-description: %w", err)
	}
	return text, err
}

// resolve follows a reference such as #/components/schemas/hook. A reference
// to nothing is a fault of the description, and no value is valid by it.
func (d *description) resolve(ref string) schema {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.resolved[ref]; ok {
		return s
	}
	parts := strings.Split(strings.TrimPrefix(ref, "#/components/"), "/")
	var s schema
	if len(parts) == 2 {
		s = sub(decode(d.components[parts[0]][parts[1]]))
	}
	if s == nil {
		s = schema{"missing reference " + ref: true}
	}
	d.resolved[ref] = s
	return s
}

// follow is what an object refers to, or the object.
func (d *description) follow(o object) object {
	if ref, ok := o["$ref"].(string); ok {
		return d.resolve(ref)
	}
	return o
}

// example is a copy of the value of one of the description's examples.
func (d *description) example(name string) any {
	o := sub(decode(d.components["examples"][name]))
	return o["value"]
}

// An operation is what GitHub says about one method of one path, or nil.
func (d *description) operation(method, path string) object {
	key := method + " " + path
	d.mu.Lock()
	defer d.mu.Unlock()
	if o, ok := d.called[key]; ok {
		return o
	}
	o := sub(sub(decode(d.paths[path]))[strings.ToLower(method)])
	if key == "GET /app/installations" {
		// An erratum: here alone it wants accounts to be users and enterprises
		// at once, which its own example is not.
		list := jsonSchema(sub(sub(o["responses"])["200"]))
		list["items"] = schema{"$ref": "#/components/schemas/installation"}
	}
	d.called[key] = o
	return o
}

// payload is the schema of a webhook's body, nil where GitHub describes none.
func (d *description) payload(event, action string) schema {
	name := strings.ReplaceAll(event, "_", "-")
	if action != "" {
		name += "-" + strings.ReplaceAll(action, "_", "-")
	}
	post := sub(sub(decode(d.hooks[name]))["post"])
	return jsonSchema(sub(post["requestBody"]))
}

// jsonSchema is the schema of a request's or an answer's body.
func jsonSchema(body object) schema {
	return sub(sub(sub(body["content"])["application/json"])["schema"])
}

// decode reads JSON with its numbers as they are; nil where there is none.
func decode(text []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil
	}
	return v
}
