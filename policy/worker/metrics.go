package worker

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type meters struct {
	restarts *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMeters(p *Pool, reg prometheus.Registerer) (meters, error) {
	m := meters{
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_policy_worker_restarts_total",
			Help: "Policy workers that died at work, by cause: time, memory and stack are the policies' own fault.",
		}, []string{"cause"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "polset_policy_worker_seconds",
			Help:    "Duration of what policy workers do, by order: inspect, plan, set.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"order"}),
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.restarts, m.seconds,
		gauge("polset_policy_workers", "Policy workers that run.", func() int { _, _, n := p.queue.count(); return n }),
		gauge("polset_policy_workers_busy", "Policy workers that are at work.", func() int { n, _, _ := p.queue.count(); return n }),
		gauge("polset_policy_worker_waiting", "Inspections and checks that wait for a policy worker.", func() int { _, n, _ := p.queue.count(); return n }),
	} {
		if err := reg.Register(c); err != nil {
			return m, fmt.Errorf("register policy worker metrics: %w", err)
		}
	}
	return m, nil
}
