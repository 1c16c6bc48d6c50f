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
	// maxReceivingEach is the share of one organization, so that nobody keeps
	// all others from uploading.
	maxReceivingEach = 16
)

// places bounds what goes on at once, in all and for each tenant.
type places struct {
	mu    sync.Mutex
	taken int
	held  map[string]int // by tenants that hold any
}

func newPlaces() *places { return &places{held: map[string]int{}} }

// take returns what gives the place back, or says which limit is reached.
func (p *places) take(by polset.Principal) (leave func(), err error) {
	tenant := by.OrganizationID
	if by.SiteAdmin() {
		tenant = by.Actor
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.held[tenant] >= maxReceivingEach:
		return nil, noPlace("%d uploads of your organization are being worked on at the moment, its share of %d.", maxReceivingEach, maxReceiving)
	case p.taken >= maxReceiving:
		return nil, noPlace("%d uploads are being worked on at the moment, as many as polset takes at once.", maxReceiving)
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
