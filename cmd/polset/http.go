package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// readyTimeout bounds the look at the database and the object storage.
const readyTimeout = 5 * time.Second

// newEcho returns the router with what every route needs: an id for each
// request, one line for each answer, and no panic that ends the server.
func newEcho(logger *zap.Logger, registry *prometheus.Registry) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	// The address of the peer, never a header that anyone may send.
	e.IPExtractor = echo.ExtractIPDirect()
	requests := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "polset_http_request_seconds", Help: "Duration of HTTP requests.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
	}, []string{"method", "route", "code"})
	registry.MustRegister(requests)
	e.Use(middleware.RequestID(), accessLog(logger, requests), recoverPanics(logger), secureHeaders)
	return e
}

// accessLog logs and counts each request by its route: the path itself may
// hold a signed link.
func accessLog(logger *zap.Logger, requests *prometheus.HistogramVec) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			start := time.Now()
			if err := next(c); err != nil {
				c.Error(err)
			}
			route, code := c.Path(), c.Response().Status
			if route == "" || code == http.StatusNotFound && route == "/*" {
				route = "unknown"
			}
			elapsed := time.Since(start)
			requests.WithLabelValues(methodLabel(c.Request().Method), route, strconv.Itoa(code)).Observe(elapsed.Seconds())
			// What went wrong is logged where it is known.
			logger.Debug("request", zap.String("method", c.Request().Method), zap.String("route", route), zap.Int("code", code),
				zap.Int64("bytes", c.Response().Size), zap.Duration("elapsed", elapsed),
				zap.String("request", c.Response().Header().Get(echo.HeaderXRequestID)))
			return nil
		}
	}
}

// methodLabel keeps made-up methods from making metrics grow.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

func recoverPanics(logger *zap.Logger) echo.MiddlewareFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			logger.Error("panic in a handler", zap.String("route", c.Path()), zap.Error(err), zap.ByteString("stack", stack))
			return echo.NewHTTPError(http.StatusInternalServerError)
		},
	})
}

func secureHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set("Cache-Control", "no-store")
		return next(c)
	}
}

// A dependency is something without which polset is not ready.
type dependency struct {
	name  string
	check func(context.Context) error
}

// registerHealth serves /healthz (the process answers), /readyz (so do what
// it depends on) and /metrics.
func registerHealth(e *echo.Echo, registry *prometheus.Registry, logger *zap.Logger, dependencies ...dependency) {
	e.GET("/healthz", func(c echo.Context) error {
		return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
	})
	e.GET("/readyz", func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), readyTimeout)
		defer cancel()
		code, states := http.StatusOK, map[string]string{"status": "ok"}
		for _, d := range dependencies {
			states[d.name] = "ok"
			if err := d.check(ctx); err != nil && !errors.Is(err, context.Canceled) {
				code, states["status"], states[d.name] = http.StatusServiceUnavailable, "unavailable", "unavailable"
				logger.Warn("not ready", zap.String("dependency", d.name), zap.Error(err))
			}
		}
		return c.JSON(code, states)
	})
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
}
