package ingest

import "sync"

// shares are the places that each tenant may hold.
type shares struct {
	each int

	mu    *sync.Mutex
	known map[string]*share // of those that hold a place, or wait for one
}

type share struct {
	places chan struct{}
	users  int
}

func newShares(each int) shares {
	return shares{each: each, mu: new(sync.Mutex), known: map[string]*share{}}
}

// of returns the places of a tenant, and what to call when they are not
// needed any more.
func (s shares) of(tenant string) (places chan struct{}, forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	its, ok := s.known[tenant]
	if !ok {
		its = &share{places: make(chan struct{}, s.each)}
		s.known[tenant] = its
	}
	its.users++
	return its.places, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if its.users--; its.users == 0 {
			delete(s.known, tenant)
		}
	}
}
