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
	measure := func(name, help string, of func(context.Context) (float64, error)) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help + "; -1 when the database does not answer."}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
			defer cancel()
			n, err := of(ctx)
			if err != nil {
				return -1
			}
			return n
		})
	}
	gauge := func(name, help string, count func(context.Context) (int64, error)) prometheus.Collector {
		return measure(name, help, func(ctx context.Context) (float64, error) {
			n, err := count(ctx)
			return float64(n), err
		})
	}
	age := func(name, help string, of func(context.Context) (time.Duration, error)) prometheus.Collector {
		return measure(name, help, func(ctx context.Context) (float64, error) {
			d, err := of(ctx)
			return d.Seconds(), err
		})
	}
	m.registerer = r
	for _, c := range []prometheus.Collector{
		m.retries,
		gauge("polset_ingestions_unfinished", "Ingestions that have not ended",
			func(ctx context.Context) (int64, error) { return s.reads.CountUnfinished(ctx) }),
		gauge("polset_queue_jobs", "Jobs that are not done",
			func(ctx context.Context) (int64, error) {
				n, err := s.queue.Depth(ctx)
				return int64(n), err
			}),
		gauge("polset_checks_unfinished", "Policy checks that have not ended",
			func(ctx context.Context) (int64, error) { return s.reads.CountUnfinishedChecks(ctx) }),
		gauge("polset_reports_unsent", "Reports that GitHub does not show yet, those that were given up aside",
			func(ctx context.Context) (int64, error) { return s.reads.CountUnsentReports(ctx) }),
		age("polset_ingest_gap_seconds", "For how long the oldest branch head that is not ingested has been seen; 0 where there is none", s.gap),
		age("polset_ingest_look_age_seconds", "How long ago the followed branch was looked at that was looked at longest ago", s.lookAge),
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
