package source

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Stats is what talking to git servers has cost.
type Stats struct {
	Requests int64 // HTTP requests, redirects included
	Received int64 // bytes of the answers' bodies
	// Plan is how the repository's objects are obtained: v2-filter, v0-filter,
	// depth1 or deepen.
	Plan string
}

// A counter counts what Stats shows. It is safe for concurrent use.
type counter struct {
	requests atomic.Int64
	received atomic.Int64
}

func (c *counter) stats() Stats {
	return Stats{Requests: c.requests.Load(), Received: c.received.Load()}
}

type metrics struct {
	fetches  *prometheus.CounterVec
	received prometheus.Counter
	requests prometheus.Counter
	duration *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_fetch_total",
			Help: "Trees fetched through git, by the plan that worked.",
		}, []string{"plan"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polset_fetch_received_bytes_total",
			Help: "Bytes received from git servers.",
		}),
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polset_fetch_requests_total",
			Help: "HTTP requests sent to git servers.",
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "polset_fetch_duration_seconds",
			Help:    "Time of one step of fetching: head, open, resolve, compare or fetch.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 12),
		}, []string{"step"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.fetches, m.received, m.requests, m.duration} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
