package api

import (
	"fmt"
	"sync"
	"time"

	"github.com/polset/polset"
)

const (
	// maxReceiving bounds the uploads that are received and worked on at once,
	// and with it the spool files that they fill.
	maxReceiving = 64
	// maxLargeBodies bounds the documents above smallBody that are read at once,
	// and with it the memory that clients hold who send slowly.
	maxLargeBodies = 64
	smallBody      = 64 << 10
	// maxEach is the share of one organization of either, so that nobody keeps
	// all others out.
	maxEach = 16
)

// places bounds what goes on at once, in all and for each tenant.
type places struct {
	what string // that takes them, in the plural
	all  int
	each int // of one tenant

	mu    sync.Mutex
	taken int
	held  map[string]int // by tenants that hold any
}

func newPlaces(what string, all, each int) *places {
	return &places{what: what, all: all, each: each, held: map[string]int{}}
}

// take returns what gives the place back, or says which limit is reached.
func (p *places) take(by polset.Principal) (leave func(), err error) {
	tenant := by.OrganizationID
	if by.SiteAdmin() {
		tenant = by.Actor
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.held[tenant] >= p.each:
		return nil, noPlace("%d %s of your organization are being received at the moment, its share of %d.", p.each, p.what, p.all)
	case p.taken >= p.all:
		return nil, noPlace("%d %s are being received at the moment, as many as polset takes at once.", p.all, p.what)
	}
	p.taken++
	p.held[tenant]++
	return func() { p.leave(tenant) }, nil
}

func (p *places) leave(tenant string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.held[tenant]--; p.held[tenant] == 0 {
		delete(p.held, tenant)
	}
}

func noPlace(format string, args ...any) error {
	return &polset.Failure{
		Class: polset.ClassLimit, Retry: true, RetryAfter: 5 * time.Second,
		Message: fmt.Sprintf(format, args...) + " Send this one again later.",
	}
}
