package webhook

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	deliveries *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) (metrics, error) {
	m := metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_deliveries_total",
			Help: "Webhook requests by the hook that received them (app, repository) and what became of them.",
		}, []string{"hook", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "polset_delivery_seconds",
			Help:    "Time from a webhook request's headers to its answer. GitHub gives up after ten seconds.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 8, 10, 30},
		}, []string{"hook"}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.deliveries), reg.Register(m.seconds))
}
