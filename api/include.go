package api

import (
	"net/http"
	"slices"
	"strings"
)

// includes is the set of related resources that a request asks for, in the
// spelling with underscores.
type includes map[string]bool

// include reads the parameter include. Clients spell its values with hyphens
// or underscores; go-tfe recognises the refusal by the words "include
// parameter".
func (r *request) include(allowed ...string) (includes, error) {
	wanted := includes{}
	for _, value := range strings.Split(strings.Join(r.query["include"], ","), ",") {
		name := strings.ReplaceAll(strings.TrimSpace(value), "-", "_")
		if name == "" {
			continue
		}
		if !slices.Contains(allowed, name) {
			return nil, problem{
				Status:    http.StatusBadRequest,
				Title:     "Invalid include parameter",
				Detail:    "The include parameter takes " + strings.Join(allowed, ", ") + "; it does not take " + value + ".",
				Parameter: "include",
			}
		}
		wanted[name] = true
	}
	return wanted, nil
}
