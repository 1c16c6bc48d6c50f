package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// An operation says of a route what polset's description of itself tells
// clients. It names the very structs that the handler decodes and marshals, so
// that the description cannot say anything else; see openapi.go.
type operation struct {
	summary string
	status  int  // of success
	nothing bool // it may also succeed with 204
	refuses int  // the status for what is not there, or not the asker's; 0: 404
	takes   content
	answers content
	include []string // the values of the parameter include
	query   []string // the other parameters of the query
}

// A form is what a body looks like.
type form int

// The forms.
const (
	formNone    form = iota // no body
	formOne                 // a JSON:API document of one resource
	formMany                // a JSON:API document of a list of resources
	formPage                // the same with links and pagination
	formLinkage             // a JSON:API document of resource identifiers
	formJSON                // JSON that is not JSON:API
	formPlain               // the same under JSON:API's media type
	formBytes               // whatever the resource holds
	formAny                 // a JSON:API document of one resource of any type
)

// content is a body.
type content struct {
	form     form
	kind     string // the type of the resources
	shape    any    // the zero value of their attributes; of formJSON and formPlain the whole
	optional bool   // a request may come without it
}

// shows is for a route that answers with one resource.
func shows(kind string, attributes any, summary string) operation {
	return operation{summary: summary, status: http.StatusOK, answers: content{form: formOne, kind: kind, shape: attributes}}
}

// lists is for a route that answers with a page of a list.
func lists(kind string, attributes any, summary string) operation {
	return operation{
		summary: summary, status: http.StatusOK, answers: content{form: formPage, kind: kind, shape: attributes},
		query: []string{"page[number]", "page[size]"},
	}
}

// listsWhole is for a route that answers with a list of which there are no
// pages.
func listsWhole(kind string, attributes any, summary string) operation {
	op := lists(kind, attributes, summary)
	op.query = nil
	return op
}

// creates is for a route that makes a resource of what a draft says.
func creates(kind string, draft, attributes any, summary string) operation {
	return operation{
		summary: summary, status: http.StatusCreated,
		takes: content{form: formOne, kind: kind, shape: draft}, answers: content{form: formOne, kind: kind, shape: attributes},
	}
}

// changes is for a route that changes a resource as a draft says.
func changes(kind string, draft, attributes any, summary string) operation {
	op := creates(kind, draft, attributes, summary)
	op.status = http.StatusOK
	return op
}

// relates is for a route that takes resource identifiers and answers nothing.
func relates(kind, summary string) operation {
	return operation{summary: summary, status: http.StatusNoContent, takes: content{form: formLinkage, kind: kind}}
}

// answers204 is for a route that takes nothing and answers nothing.
func answers204(summary string) operation {
	return operation{summary: summary, status: http.StatusNoContent}
}

// answersPlain is for a route that answers with JSON:API in another form than
// HCP Terraform's.
func answersPlain(shape any, summary string) operation {
	return operation{summary: summary, status: http.StatusOK, answers: content{form: formPlain, shape: shape}}
}

// answersJSON is for a route outside of JSON:API.
func answersJSON(shape any, summary string) operation {
	return operation{summary: summary, status: http.StatusOK, answers: content{form: formJSON, shape: shape}}
}

// sendsBytes is for a route that answers with bytes.
func sendsBytes(summary string) operation {
	return operation{summary: summary, status: http.StatusOK, answers: content{form: formBytes}}
}

// takesBytes is for a route that takes the bytes of some resource, and answers
// with the resource.
func takesBytes(summary string) operation {
	return operation{summary: summary, status: http.StatusOK, takes: content{form: formBytes}, answers: content{form: formAny}}
}

// takesBytesOf is for a route that takes the bytes of a resource and answers
// with the resource.
func takesBytesOf(kind string, attributes any, summary string) operation {
	op := shows(kind, attributes, summary)
	op.takes = content{form: formBytes}
	return op
}

// redirects is for a route that sends the client on to a link.
func redirects(summary string) operation {
	return operation{summary: summary, status: http.StatusFound}
}

// answering changes the status of success.
func (o operation) answering(status int) operation {
	o.status = status
	return o
}

// taking gives the operation a document of one resource to read.
func (o operation) taking(kind string, draft any) operation {
	o.takes = content{form: formOne, kind: kind, shape: draft}
	return o
}

// takingMany gives the operation a document of a list of resources to read.
func (o operation) takingMany(kind string, draft any) operation {
	o.takes = content{form: formMany, kind: kind, shape: draft}
	return o
}

// takingPlain gives the operation a body to read that is JSON, and no document
// of JSON:API. A request may come without it.
func (o operation) takingPlain(shape any) operation {
	o.takes = content{form: formPlain, shape: shape, optional: true}
	return o
}

// orNothing says that there may be nothing to answer with yet.
func (o operation) orNothing() operation {
	o.nothing = true
	return o
}

// forbidding makes the operation answer 403 for what is not there, or not the
// asker's, without a difference between the two.
func (o operation) forbidding() operation {
	o.refuses = http.StatusForbidden
	return o
}

// optionally says that a request may come without a body.
func (o operation) optionally() operation {
	o.takes.optional = true
	return o
}

// including names the values of the parameter include.
func (o operation) including(values ...string) operation {
	o.include = values
	return o
}

// with names parameters of the query.
func (o operation) with(parameters ...string) operation {
	o.query = append(o.query[:len(o.query):len(o.query)], parameters...)
	return o
}

// Include returns the values that the route's parameter include takes.
func (r Route) Include() []string { return append([]string(nil), r.operation.include...) }

// Paged says whether the route takes the parameters of a page.
func (r Route) Paged() bool {
	return slices.Contains(r.operation.query, "page[number]") && r.Method == http.MethodGet
}

// Refusal is the status of the route's answer for what is not there, or not the
// asker's.
func (r Route) Refusal() int { return cmp.Or(r.operation.refuses, http.StatusNotFound) }

// Described says whether the route says what it does.
func (r Route) Described() bool { return r.operation.summary != "" && r.operation.status != 0 }

// Params returns the names of the parameters in the route's path.
func (r Route) Params() []string {
	var names []string
	for _, part := range strings.Split(r.Pattern, "/") {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			names = append(names, name)
		}
	}
	return names
}
