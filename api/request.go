package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
)

const (
	maxBody  = 1 << 20
	maxDepth = 32
)

// An optional is an attribute that a request may leave out or set to null,
// which PATCH tells apart.
type optional[T any] struct {
	Present bool // the attribute is in the document
	Null    bool // and it is null
	Value   T    // otherwise this is its value
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *optional[T]) UnmarshalJSON(b []byte) error {
	*o = optional[T]{Present: true}
	if bytes.Equal(b, []byte("null")) {
		o.Null = true
		return nil
	}
	return json.Unmarshal(b, &o.Value)
}

// Get returns the value, and whether there is one.
func (o optional[T]) Get() (T, bool) { return o.Value, o.Present && !o.Null }

// Or returns the value, or fallback where there is none.
func (o optional[T]) Or(fallback T) T {
	if v, ok := o.Get(); ok {
		return v
	}
	return fallback
}

// given is what PATCH sets: nil where the attribute is left out, the zero value
// where it is null.
func (o optional[T]) given() *T {
	if !o.Present {
		return nil
	}
	value := o.Or(*new(T))
	return &value
}

// some is what PATCH sets of an attribute that null leaves as it is.
func (o optional[T]) some() *T {
	if value, ok := o.Get(); ok {
		return &value
	}
	return nil
}

// A draft is the resource of a request's document. Attributes that T does not
// have are ignored, as HCP Terraform ignores them.
type draft[T any] struct {
	Attributes    T
	Relationships map[string]json.RawMessage
}

// decode reads the request's document, whose resource must have the type kind
// and, where the request changes an existing resource, its id or none.
func decode[T any](r *request, kind, id string) (draft[T], error) {
	body, err := readBody(r)
	if err != nil {
		return draft[T]{}, err
	}
	return decodeResource[T](body, kind, id, false)
}

// decodeAction reads the document of an action, which may be missing: all of
// its attributes are then. Its resource may have the type kind or none.
func decodeAction[T any](r *request, kind string) (draft[T], error) {
	body, err := actionBody(r)
	if err != nil || body == nil {
		return draft[T]{}, err
	}
	return decodeResource[T](body, kind, "", true)
}

// actionBody reads the body of an action; nil where it is missing.
func actionBody(r *request) ([]byte, error) {
	req := r.Request()
	buffered := bufio.NewReader(req.Body)
	if _, err := buffered.Peek(1); errors.Is(err, io.EOF) {
		return nil, nil
	}
	req.Body = struct {
		io.Reader
		io.Closer
	}{buffered, req.Body}
	return readBody(r)
}

func decodeResource[T any](body []byte, kind, id string, untyped bool) (draft[T], error) {
	var d draft[T]
	data, err := dataOf(body)
	if err != nil {
		return d, err
	}
	var res struct {
		Type          optional[string]           `json:"type"`
		ID            optional[string]           `json:"id"`
		Attributes    json.RawMessage            `json:"attributes"`
		Relationships map[string]json.RawMessage `json:"relationships"`
	}
	if err := json.Unmarshal(data, &res); err != nil {
		return d, wrongType("/data", data, err)
	}
	if res.Type.Present || !untyped {
		if err := checkType("/data", res.Type.Or(""), kind).orNil(); err != nil {
			return d, err
		}
	}
	// A client's own id for something new is ignored: the server names things.
	if got := res.ID.Or(""); id != "" && got != "" && got != id {
		return d, mismatch("/data/id", "data.id is %q, and the request is for %q.", got, id)
	}
	if len(res.Attributes) > 0 && !bytes.Equal(res.Attributes, []byte("null")) {
		if err := json.Unmarshal(res.Attributes, &d.Attributes); err != nil {
			return d, wrongType("/data/attributes", res.Attributes, err)
		}
	}
	d.Relationships = res.Relationships
	return d, nil
}

// dataOf returns the primary data of a document.
func dataOf(body []byte) (json.RawMessage, error) {
	var top struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &top); err != nil {
		return nil, malformedDocument("", "The document must be a JSON object with a member data.")
	}
	if len(top.Data) == 0 || bytes.Equal(top.Data, []byte("null")) {
		return nil, malformedDocument("/data", "The document has no data.")
	}
	return top.Data, nil
}

// checkType judges the type of the resource at a pointer.
func checkType(pointer, got, kind string) problems {
	pointer += "/type"
	if got == "" {
		return problems{malformedDocument(pointer, fmt.Sprintf("%s must be %q.", member(pointer), kind))}
	}
	if got != kind {
		return problems{mismatch(pointer, "%s is %q, and this endpoint takes %q.", member(pointer), got, kind)}
	}
	return nil
}

// member names what a pointer leads to as people write it, such as data.type.
func member(pointer string) string {
	return strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", ".")
}

// attribute is member for what people know as an attribute, such as
// vcs-repo.branch.
func attribute(pointer string) string {
	return strings.TrimPrefix(member(pointer), "data.attributes.")
}

// readBody returns a body that is JSON of bounded size and depth, and free of
// NUL, which PostgreSQL cannot hold.
func readBody(r *request) ([]byte, error) { return readBodyOf(r, maxBody) }

// readBodyOf is readBody with another limit.
func readBodyOf(r *request, limit int64) ([]byte, error) {
	req := r.Request()
	given, _, err := mime.ParseMediaType(req.Header.Get(echo.HeaderContentType))
	if err != nil || given != mediaType {
		return nil, problem{Status: http.StatusUnsupportedMediaType, Title: "unsupported media type", Detail: "The Content-Type must be " + mediaType + "."}
	}
	if enc := req.Header.Get(echo.HeaderContentEncoding); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, problem{Status: http.StatusUnsupportedMediaType, Title: "unsupported media type", Detail: "The body must not be compressed."}
	}
	if req.ContentLength > smallBody || req.ContentLength < 0 {
		leave, err := r.documents.take(r.by)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	body, err := io.ReadAll(http.MaxBytesReader(r.Response(), req.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, problem{Status: http.StatusRequestEntityTooLarge, Title: "payload too large", Detail: fmt.Sprintf("The body must not exceed %d bytes.", limit)}
		}
		return nil, badJSON("The body ended early.")
	}
	if !json.Valid(body) || !utf8.Valid(body) {
		return nil, badJSON("The body is not valid JSON.")
	}
	return body, inspect(json.NewDecoder(bytes.NewReader(body)), nil)
}

// inspect walks one value of valid JSON for what is valid and still
// unwelcome. The path leads to the value.
func inspect(dec *json.Decoder, path []string) error {
	token, err := dec.Token()
	if err != nil {
		return badJSON("The body is not valid JSON.")
	}
	switch t := token.(type) {
	case string:
		if strings.ContainsRune(t, 0) {
			return malformedDocument("/"+strings.Join(path, "/"), "The text holds a NUL character, which no text may hold.")
		}
	case json.Delim:
		if len(path) == maxDepth {
			return badJSON(fmt.Sprintf("The body is nested deeper than %d levels.", maxDepth))
		}
		for i := 0; dec.More(); i++ {
			member := strconv.Itoa(i)
			if t == '{' {
				key, err := dec.Token()
				if err != nil {
					return badJSON("The body is not valid JSON.")
				}
				member = fmt.Sprint(key)
			}
			if err := inspect(dec, append(path, member)); err != nil {
				return err
			}
		}
		if _, err := dec.Token(); err != nil {
			return badJSON("The body is not valid JSON.")
		}
	}
	return nil
}

func badJSON(detail string) problem {
	return problem{Status: http.StatusBadRequest, Title: "malformed JSON", Detail: detail}
}

func malformedDocument(pointer, detail string) problem {
	return problem{Status: http.StatusUnprocessableEntity, Title: "malformed document", Detail: detail, Pointer: pointer}
}

func mismatch(pointer, format string, args ...any) problem {
	return problem{Status: http.StatusConflict, Title: "conflict", Detail: fmt.Sprintf(format, args...), Pointer: pointer}
}

// wrongType points at the member of raw, the JSON text at base, that has
// another JSON type.
func wrongType(base string, raw json.RawMessage, err error) problem {
	var typeError *json.UnmarshalTypeError
	if !errors.As(err, &typeError) {
		return malformedDocument(base, member(base)+" is malformed.")
	}
	var path []string
	if typeError.Field != "" {
		path = strings.Split(typeError.Field, ".")
	}
	got, _, _ := strings.Cut(typeError.Value, " ") // of a number all of it is told
	place, ok := misplaced(raw, path, got)
	if !ok {
		place = strings.Join(append([]string{""}, path...), "/")
	}
	return problem{
		Status:  http.StatusUnprocessableEntity,
		Title:   "invalid attribute",
		Detail:  fmt.Sprintf("%s must be %s, not %s.", attribute(base+place), jsonType(typeError), withArticle(got)),
		Pointer: base + place,
	}
}

// misplaced returns the pointer to the first value on a path that is of a JSON
// type. The path has no places in arrays: encoding/json leaves them out.
func misplaced(raw json.RawMessage, path []string, kind string) (pointer string, ok bool) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		for i, element := range list {
			if place, ok := misplaced(element, path, kind); ok {
				return "/" + strconv.Itoa(i) + place, true
			}
		}
	}
	if len(path) == 0 {
		return "", typeOf(raw) == kind
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return "", false
	}
	for name, value := range object {
		if !strings.EqualFold(name, path[0]) { // as encoding/json compares
			continue
		}
		if place, ok := misplaced(value, path[1:], kind); ok {
			return "/" + path[0] + place, true
		}
	}
	return "", false
}

// typeOf names the type of a JSON text as encoding/json does.
func typeOf(raw json.RawMessage) string {
	switch text := bytes.TrimSpace(raw); text[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	case 'n':
		return "null"
	}
	return "number"
}

// jsonType names what Go expected in JSON's words.
func jsonType(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind().String() {
	case "bool":
		return withArticle("bool")
	case "string":
		return withArticle("string")
	case "slice", "array":
		return withArticle("array")
	case "struct", "map", "ptr":
		return withArticle("object")
	}
	return withArticle("number")
}

func withArticle(kind string) string {
	switch kind {
	case "array", "object":
		return "an " + kind
	case "bool":
		return "a boolean"
	}
	return "a " + kind
}
