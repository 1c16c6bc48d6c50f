package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

const (
	openAPIPattern = "/openapi.json"
	openAPIVersion = "3.0.3"
)

// describe answers with polset's description of itself.
func (a *API) describe(r *request) error {
	return r.Blob(http.StatusOK, echo.MIMEApplicationJSON, a.description)
}

// Description is polset's OpenAPI description: the route table, and the structs
// that are decoded and marshalled, seen by reflection.
func (a *API) Description() []byte { return slices.Clone(a.description) }

// A schema is one of OpenAPI 3.0.
type schema map[string]any

// describeRoutes fails for what it cannot describe, so that nothing is left out.
func describeRoutes(routes []Route) ([]byte, error) {
	d := description{schemas: map[string]schema{}, types: map[string]reflect.Type{}, kinds: map[string]reflect.Type{}}
	paths := map[string]map[string]any{}
	for _, route := range routes {
		path := openAPIPath(route.Pattern)
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		op, err := d.operation(route)
		if err != nil {
			return nil, fmt.Errorf("describe %s %s: %w", route.Method, route.Pattern, err)
		}
		paths[path][strings.ToLower(route.Method)] = op
	}
	return json.MarshalIndent(map[string]any{
		"openapi": openAPIVersion,
		"info": map[string]any{
			"title": "polset", "version": "2",
			"description": "The open, self-hosted home of Terraform policy sets: HCP Terraform's API, as far as policies need it.",
			"license":     map[string]any{"name": "Apache-2.0"},
		},
		"servers":  []any{map[string]any{"url": "/"}},
		"security": []any{map[string]any{"token": []any{}}},
		"paths":    paths,
		"components": map[string]any{
			"schemas":         d.schemas,
			"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}},
		},
	}, "", "  ")
}

// openAPIPath turns :name into {name}.
func openAPIPath(pattern string) string {
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

// A description is the part that operations share.
type description struct {
	schemas map[string]schema
	types   map[string]reflect.Type // of the schemas
	kinds   map[string]reflect.Type // the attributes of resources, by the name of their schema
}

func (d *description) operation(route Route) (map[string]any, error) {
	op := route.operation
	failed, err := d.of(reflect.TypeFor[errorDocument](), false)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"description": http.StatusText(op.status)}
	if op.status == http.StatusFound {
		answer["headers"] = map[string]any{"Location": map[string]any{"schema": schema{"type": "string", "format": "uri"}}}
	}
	if op.answers.form != formNone && route.Method != http.MethodHead {
		if answer["content"], err = d.content(op.answers, false); err != nil {
			return nil, err
		}
	}
	responses := map[string]any{
		strconv.Itoa(op.status): answer,
		"default": map[string]any{
			"description": "What is wrong",
			"content":     map[string]any{mediaType: map[string]any{"schema": failed}},
		},
	}
	if op.nothing {
		responses[strconv.Itoa(http.StatusNoContent)] = map[string]any{"description": http.StatusText(http.StatusNoContent)}
	}
	out := map[string]any{
		"operationId": operationID(route),
		"summary":     op.summary,
		"parameters":  parameters(route),
		"responses":   responses,
	}
	if kind := cmp.Or(op.answers.kind, op.takes.kind); kind != "" {
		out["tags"] = []string{kind}
	}
	if route.Access == AccessPublic {
		out["security"] = []any{}
	}
	if op.takes.form != formNone {
		body, err := d.content(op.takes, true)
		if err != nil {
			return nil, err
		}
		out["requestBody"] = map[string]any{"content": body, "required": !op.takes.optional}
	}
	return out, nil
}

// operationID is the method and the path in one word.
func operationID(route Route) string {
	path := strings.Trim(strings.TrimPrefix(route.Pattern, prefix), "/.")
	return strings.ToLower(route.Method) + "." + strings.NewReplacer("/", ".", ":", "").Replace(path)
}

func parameters(route Route) []any {
	list := []any{}
	for _, name := range route.Params() {
		list = append(list, map[string]any{"in": "path", "name": name, "required": true, "schema": schema{"type": "string"}})
	}
	for _, name := range route.operation.query {
		is := schema{"type": "string"}
		if strings.HasPrefix(name, "page[") {
			is = schema{"type": "integer"}
		}
		list = append(list, map[string]any{"in": "query", "name": name, "schema": is})
	}
	if len(route.operation.include) > 0 {
		var values []any
		for _, value := range route.operation.include {
			values = append(values, value)
			if hyphens := strings.ReplaceAll(value, "_", "-"); hyphens != value {
				values = append(values, hyphens)
			}
		}
		list = append(list, map[string]any{
			"in": "query", "name": "include", "style": "form", "explode": false,
			"description": "Related resources to include, separated by commas.",
			"schema":      schema{"type": "array", "items": schema{"type": "string", "enum": values}},
		})
	}
	return list
}

// content describes a body by its media type.
func (d *description) content(c content, taken bool) (map[string]any, error) {
	if c.form == formBytes {
		return map[string]any{"*/*": map[string]any{"schema": schema{"type": "string", "format": "binary"}}}, nil
	}
	if c.form == formJSON || c.form == formPlain {
		whole, err := d.of(reflect.TypeOf(c.shape), taken)
		name := echo.MIMEApplicationJSON
		if c.form == formPlain {
			name = mediaType
		}
		return map[string]any{name: map[string]any{"schema": whole}}, err
	}
	if c.form == formAny {
		document := schema{"type": "object", "required": []string{"data"}, "properties": schema{"data": d.included()}}
		return map[string]any{mediaType: map[string]any{"schema": document}}, nil
	}
	data, err := d.resource(c, taken)
	if err != nil {
		return nil, err
	}
	if c.form != formOne {
		data = schema{"type": "array", "items": data}
	}
	document, required := schema{"data": data}, []string{"data"}
	if !taken {
		document["included"] = schema{"type": "array", "items": d.included()}
	}
	if c.form == formPage {
		for member, t := range map[string]reflect.Type{"links": reflect.TypeFor[pageLinks](), "meta": reflect.TypeFor[meta]()} {
			if document[member], err = d.of(t, false); err != nil {
				return nil, err
			}
			required = append(required, member)
		}
		slices.Sort(required)
	}
	return map[string]any{mediaType: map[string]any{"schema": schema{"type": "object", "required": required, "properties": document}}}, nil
}

// included is a resource of whatever type.
func (d *description) included() schema {
	d.schemas["resource"] = resourceSchema(schema{"type": "string"}, schema{"type": "object", "additionalProperties": true}, "id", "type")
	return reference("resource")
}

func reference(name string) schema { return schema{"$ref": "#/components/schemas/" + name} }

// resource describes a resource by its attributes. A request needs to name the
// type only.
func (d *description) resource(c content, taken bool) (schema, error) {
	of := schema{"type": "string", "enum": []string{c.kind}}
	if c.form == formLinkage {
		// Clients send whole resources; no more than this is read.
		return schema{"type": "object", "required": []string{"id", "type"}, "properties": schema{"id": schema{"type": "string"}, "type": of}}, nil
	}
	required := []string{"type"}
	if c.optional {
		required = nil // an action's document need not say what it is
	}
	t := reflect.TypeOf(c.shape)
	var attributes schema
	if t != nil {
		var err error
		if attributes, err = d.of(t, taken); err != nil {
			return nil, err
		}
	}
	if taken {
		s := resourceSchema(of, attributes, required...)
		// Clients relate whole resources, and such as have no id yet.
		s["properties"].(schema)["relationships"] = schema{"type": "object"}
		return s, nil
	}
	required = []string{"id", "type"}
	if t != nil {
		required = []string{"attributes", "id", "type"}
	}
	name := c.kind
	if known, ok := d.kinds[name]; ok && known != t {
		name += "-" + t.Name() // the same type, shown in another way
	}
	d.kinds[name], d.schemas[name] = t, resourceSchema(of, attributes, required...)
	return reference(name), nil
}

func resourceSchema(of, attributes schema, required ...string) schema {
	identifier := schema{
		"type": "object", "required": []string{"id", "type"},
		"properties": schema{"id": schema{"type": "string"}, "type": schema{"type": "string"}},
	}
	orNone := schema{"type": "object", "nullable": true, "required": identifier["required"], "properties": identifier["properties"]}
	properties := schema{
		"id": schema{"type": "string"}, "type": of,
		"relationships": schema{"type": "object", "additionalProperties": schema{
			"type": "object", "required": []string{"data"},
			"properties": schema{"data": schema{"oneOf": []any{orNone, schema{"type": "array", "items": identifier}}}},
		}},
		"links": schema{"type": "object", "additionalProperties": schema{"type": "string"}},
	}
	if attributes != nil {
		properties["attributes"] = attributes
	}
	s := schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// A described type says by itself what its JSON looks like, because it
// marshals or unmarshals itself.
type described interface {
	schema(d *description, taken bool) (schema, error)
}

func (iso8601) schema(*description, bool) (schema, error) {
	return schema{"type": "string", "format": "date-time", "nullable": true}, nil
}

func (optional[T]) schema(d *description, taken bool) (schema, error) {
	s, err := d.of(reflect.TypeFor[T](), taken)
	return orNullSchema(s), err
}

// orNullSchema is what a schema allows, and null. A reference has no such
// keyword beside it.
func orNullSchema(s schema) schema {
	if s["$ref"] != nil {
		return schema{"allOf": []any{s}, "nullable": true}
	}
	nullable := schema{"nullable": true}
	for keyword, value := range s {
		nullable[keyword] = value
	}
	return nullable
}

// of describes a type as encoding/json takes it, or writes it.
func (d *description) of(t reflect.Type, taken bool) (schema, error) {
	if own, ok := reflect.Zero(t).Interface().(described); ok && t.Kind() != reflect.Pointer {
		return own.schema(d, taken)
	}
	if t == reflect.TypeFor[json.RawMessage]() {
		return schema{}, nil
	}
	for _, self := range []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler]()} {
		if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && (t.Implements(self) || reflect.PointerTo(t).Implements(self)) {
			return nil, fmt.Errorf("%s makes its own JSON and does not describe it", t)
		}
	}
	switch t.Kind() {
	case reflect.Bool:
		return schema{"type": "boolean"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return schema{"type": "integer"}, nil
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number"}, nil
	case reflect.String:
		return schema{"type": "string"}, nil
	case reflect.Interface:
		return schema{}, nil
	case reflect.Pointer:
		s, err := d.of(t.Elem(), taken)
		return orNullSchema(s), err
	case reflect.Slice, reflect.Array:
		items, err := d.of(t.Elem(), taken)
		return schema{"type": "array", "items": items}, err
	case reflect.Map:
		values, err := d.of(t.Elem(), taken)
		return schema{"type": "object", "additionalProperties": values}, err
	case reflect.Struct:
		return d.structure(t, taken)
	}
	return nil, fmt.Errorf("%s has no description", t)
}

// structure puts a struct that has a name among the shared schemas.
func (d *description) structure(t reflect.Type, taken bool) (schema, error) {
	name := t.Name()
	if name == "" || strings.Contains(name, "[") {
		return d.object(t, taken)
	}
	if taken {
		name += "-taken" // in a request nothing is required
	}
	if known, ok := d.types[name]; ok {
		if known != t {
			return nil, fmt.Errorf("%s and %s have one name", known, t)
		}
		return reference(name), nil
	}
	d.types[name] = t // before its members, which may lead back to it
	s, err := d.object(t, taken)
	if err != nil {
		return nil, err
	}
	d.schemas[name] = s
	return reference(name), nil
}

func (d *description) object(t reflect.Type, taken bool) (schema, error) {
	properties, required := schema{}, []string{}
	for _, field := range reflect.VisibleFields(t) {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || tag == "-" || (field.Anonymous && tag == "") {
			continue // the fields of an embedded struct are visible themselves
		}
		if tag == "" {
			tag = field.Name
		}
		s, err := d.of(field.Type, taken)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tag, err)
		}
		if taken {
			s = orNullSchema(s) // which encoding/json takes for absence
		}
		properties[tag] = s
		if !taken && !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			required = append(required, tag)
		}
	}
	s := schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		slices.Sort(required)
		s["required"] = required
	}
	return s, nil
}
