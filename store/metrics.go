package store

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds the queries of a scrape.
const scrapeTimeout = 2 * time.Second

type metrics struct {
	retries    prometheus.Counter
	registerer prometheus.Registerer // nil: nobody looks
	collectors []prometheus.Collector
}

func newMetrics() metrics {
	return metrics{retries: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "polset_store_retries_total",
		Help: "Transactions that were tried again after a deadlock, a lock timeout or a lost connection.",
	})}
}

func (m *metrics) register(r prometheus.Registerer, s *Store) error {
	if r == nil {
		return nil
	}
	gauge := func(name, help string, count func(context.Context) (int64, error)) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
			defer cancel()
			n, err := count(ctx)
			if err != nil {
				return -1
			}
			return float64(n)
		})
	}
	m.registerer = r
	for _, c := range []prometheus.Collector{
		m.retries,
		gauge("polset_ingestions_unfinished", "Ingestions that have not ended; -1 when the database does not answer.",
			func(ctx context.Context) (int64, error) { return s.reads.CountUnfinished(ctx) }),
		gauge("polset_queue_jobs", "Jobs that are not done; -1 when the database does not answer.",
			func(ctx context.Context) (int64, error) {
				n, err := s.queue.Depth(ctx)
				return int64(n), err
			}),
	} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register store metrics: %w", err)
		}
		m.collectors = append(m.collectors, c)
	}
	return nil
}

func (m *metrics) unregister() {
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}
