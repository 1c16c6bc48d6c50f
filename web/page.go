package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
)

//go:embed pages style.css
var files embed.FS

// parse reads the templates by name, each with the layout, and the stylesheet,
// whose version becomes a part of its address, so that it may be kept.
func (w *Web) parse() error {
	w.pages = map[string]*template.Template{}
	for name := range stepOf {
		t, err := template.ParseFS(files, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return fmt.Errorf("parse page %s: %w", name, err)
		}
		w.pages[name] = t
	}
	var err error
	if w.stylesheet, err = files.ReadFile("style.css"); err != nil {
		return fmt.Errorf("read the stylesheet: %w", err)
	}
	sum := sha256.Sum256(w.stylesheet)
	w.styleVersion = hex.EncodeToString(sum[:6])
	return nil
}

// stepOf names the pages, and which of the three steps each belongs to; 0:
// none.
var stepOf = map[string]int{"describe": 1, "create": 2, "install": 3, "wait": 3, "confirm": 3, "done": 4, "message": 0}

// A frame is what the layout needs around a page.
type frame struct {
	Style   string
	Steps   []step // empty: none are shown
	Refresh int    // seconds after which the browser asks for Next; 0: never
	Next    string
	Page    any
}

// A step is one of the three, as a person sees them above the page.
type step struct {
	Number int
	Name   string
	Done   bool
	Now    bool
}

func stepsAt(at int) []step {
	if at == 0 {
		return nil
	}
	var steps []step
	for i, name := range []string{"Describe", "Create", "Install"} {
		steps = append(steps, step{Number: i + 1, Name: name, Done: i+1 < at, Now: i+1 == at})
	}
	return steps
}

// A message is a page of words.
type message struct {
	Title  string
	Advice []string
	Links  []link
	Alert  bool // something went wrong
}

type link struct{ Text, Href string }

// show writes a page, whole or not at all.
func (w *Web) show(v *visit, status int, name string, page any) error {
	return w.write(v, status, name, frame{Page: page})
}

func (w *Web) write(v *visit, status int, name string, f frame) error {
	f.Style, f.Steps = w.prefix+pathStyle+"?v="+w.styleVersion, stepsAt(stepOf[name])
	var b bytes.Buffer
	if err := w.pages[name].ExecuteTemplate(&b, "layout", f); err != nil {
		return fmt.Errorf("make page %s: %w", name, err)
	}
	v.response.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.response.WriteHeader(status)
	_, err := v.response.Write(b.Bytes())
	return err
}

// redirect sends the browser on with a GET, whatever it came with.
func redirect(v *visit, url string) error {
	v.response.Header().Set("Location", url)
	v.response.WriteHeader(http.StatusSeeOther)
	return nil
}

// style serves the stylesheet.
func (w *Web) style(v *visit) error {
	h := v.response.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	if v.request.URL.Query().Get("v") == w.styleVersion {
		h.Set("Cache-Control", "public, max-age=86400, immutable")
	}
	v.response.WriteHeader(http.StatusOK)
	_, err := v.response.Write(w.stylesheet)
	return err
}
