package hub

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A schema is one of OpenAPI 3.0, as decoded JSON.
type schema = map[string]any

// object is a JSON object.
type object = map[string]any

// silent are the keywords that say nothing about which values are valid.
var silent = []string{
	"title", "description", "example", "examples", "default", "deprecated", "discriminator",
	"externalDocs", "readOnly", "writeOnly", "nullable",
}

// check says what is wrong with a value, decoded with json.Number, at a place
// such as body.output.title. A keyword that it does not know is wrong too: no
// rule of GitHub's shall pass unseen.
func (d *description) check(s schema, value any, at string) []string {
	if ref, ok := s["$ref"].(string); ok {
		return d.check(d.resolve(ref), value, at)
	}
	if value == nil && s["nullable"] == true {
		return nil
	}
	var wrong []string
	for _, keyword := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(keyword, "x-") || slices.Contains(silent, keyword) {
			continue
		}
		wrong = append(wrong, d.keyword(s, keyword, value, at)...)
		if keyword == "type" && len(wrong) > 0 {
			break
		}
	}
	return wrong
}

func (d *description) keyword(s schema, keyword string, value any, at string) []string {
	problem := func(format string, args ...any) []string {
		return []string{at + ": " + fmt.Sprintf(format, args...)}
	}
	text, isText := value.(string)
	list, isList := value.([]any)
	fields, isObject := value.(object)
	switch rule := s[keyword]; keyword {
	case "type":
		if !hasType(rule, value) {
			return problem("%s is not of the type %v", show(value), rule)
		}
	case "enum":
		options, _ := rule.([]any)
		if !slices.ContainsFunc(options, func(o any) bool { return fmt.Sprint(o) == fmt.Sprint(value) }) {
			return problem("%s is none of %v", show(value), rule)
		}
	case "format":
		if isText && !hasFormat(fmt.Sprint(rule), text) {
			return problem("%s is no %v", show(value), rule)
		}
	case "pattern":
		if pattern, err := regexp.Compile(fmt.Sprint(rule)); err != nil || isText && !pattern.MatchString(text) {
			return problem("%s does not match %v", show(value), rule)
		}
	case "maxLength":
		if isText && utf8.RuneCountInString(text) > number(rule) {
			return problem("%d characters are more than %v", utf8.RuneCountInString(text), rule)
		}
	case "minLength":
		if isText && utf8.RuneCountInString(text) < number(rule) {
			return problem("%d characters are fewer than %v", utf8.RuneCountInString(text), rule)
		}
	case "maxItems":
		if isList && len(list) > number(rule) {
			return problem("%d items are more than %v", len(list), rule)
		}
	case "minItems":
		if isList && len(list) < number(rule) {
			return problem("%d items are fewer than %v", len(list), rule)
		}
	case "minimum":
		if n, ok := value.(json.Number); ok && number(n) < number(rule) {
			return problem("%v is less than %v", n, rule)
		}
	case "maximum":
		if n, ok := value.(json.Number); ok && number(n) > number(rule) {
			return problem("%v is more than %v", n, rule)
		}
	case "items":
		var wrong []string
		for i, item := range list {
			wrong = append(wrong, d.check(sub(rule), item, fmt.Sprintf("%s[%d]", at, i))...)
		}
		return wrong
	case "required":
		names, _ := rule.([]any)
		var wrong []string
		for _, name := range names {
			if _, ok := fields[fmt.Sprint(name)]; isObject && !ok {
				wrong = append(wrong, problem("%v is missing", name)...)
			}
		}
		return wrong
	case "properties", "additionalProperties":
		if keyword == "properties" || s["properties"] == nil { // once is enough
			return d.properties(s, fields, at)
		}
	case "allOf", "anyOf", "oneOf":
		return d.composite(keyword, rule, value, at)
	default:
		return problem("the stand-in does not understand the keyword %s of GitHub's description", keyword)
	}
	return nil
}

func (d *description) properties(s schema, fields object, at string) []string {
	known := sub(s["properties"])
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		place := at + "." + name
		rule, ok := known[name]
		switch extra, described := s["additionalProperties"].(schema); {
		case ok:
			wrong = append(wrong, d.check(sub(rule), fields[name], place)...)
		case described:
			wrong = append(wrong, d.check(extra, fields[name], place)...)
		case s["additionalProperties"] == false:
			wrong = append(wrong, place+": GitHub knows no such field")
		}
	}
	return wrong
}

// composite takes one of oneOf for enough: GitHub's alternatives overlap.
func (d *description) composite(keyword string, rule, value any, at string) []string {
	options, _ := rule.([]any)
	var wrong []string
	for _, option := range options {
		problems := d.check(sub(option), value, at)
		if len(problems) == 0 && keyword != "allOf" {
			return nil
		}
		wrong = append(wrong, problems...)
	}
	return wrong
}

// unknown names the fields of a value that the schema does not describe,
// which GitHub would let pass without a word.
func (d *description) unknown(s schema, value any, at string) []string {
	var wrong []string
	switch value := value.(type) {
	case []any:
		items, described := d.flat(s)["items"].(schema)
		for i, item := range value {
			if described {
				wrong = append(wrong, d.unknown(items, item, fmt.Sprintf("%s[%d]", at, i))...)
			}
		}
	case object:
		flat := d.flat(s)
		known := sub(flat["properties"])
		for _, name := range slices.Sorted(maps.Keys(value)) {
			rule, ok := known[name]
			switch {
			case ok:
				wrong = append(wrong, d.unknown(sub(rule), value[name], at+"."+name)...)
			case flat["additionalProperties"] == nil || flat["additionalProperties"] == false:
				wrong = append(wrong, at+"."+name+": GitHub knows no such field")
			}
		}
	}
	return wrong
}

// flat is a schema with the properties of what it is composed of.
func (d *description) flat(s schema) schema {
	if ref, ok := s["$ref"].(string); ok {
		return d.flat(d.resolve(ref))
	}
	flat := maps.Clone(s)
	properties := maps.Clone(sub(s["properties"]))
	if properties == nil {
		properties = schema{}
	}
	for _, keyword := range []string{"allOf", "anyOf", "oneOf"} {
		options, _ := s[keyword].([]any)
		for _, option := range options {
			part := d.flat(sub(option))
			for name, rule := range sub(part["properties"]) {
				if _, ok := properties[name]; !ok {
					properties[name] = rule
				}
			}
			if items, ok := part["items"]; ok && flat["items"] == nil {
				flat["items"] = items
			}
		}
	}
	flat["properties"] = properties
	return flat
}

func hasType(rule, value any) bool {
	switch value := value.(type) {
	case string:
		return rule == "string"
	case bool:
		return rule == "boolean"
	case json.Number:
		_, err := value.Int64()
		return rule == "number" || rule == "integer" && err == nil
	case []any:
		return rule == "array"
	case object:
		return rule == "object"
	}
	return false
}

// hasFormat knows the formats that mean something to a machine; GitHub's
// others (email, uri-template, repo.nwo …) are notes for people.
func hasFormat(format, text string) bool {
	switch format {
	case "date-time":
		_, err := time.Parse(time.RFC3339, text)
		return err == nil
	case "uri":
		u, err := url.Parse(text)
		return err == nil && (u.Scheme != "" || text == "")
	}
	return true
}

func sub(v any) schema {
	s, _ := v.(schema)
	return s
}

func number(v any) int {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	i, err := n.Int64()
	if err != nil {
		return 0
	}
	return int(i)
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(text) > 80 {
		return string(text[:80]) + "…"
	}
	return string(text)
}
