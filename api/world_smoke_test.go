package api_test

import "testing"

func TestWorld(t *testing.T) {
	w := newWorld(t)
	if a := w.ask(w.acme, "POST", "/organizations/acme/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"net"}}}`); a.status != 201 {
		t.Fatal(a.body)
	}
	if a := w.ask(w.evil, "GET", "/organizations/acme/policy-sets", ""); a.status != 404 {
		t.Fatal(a.body)
	}
}
