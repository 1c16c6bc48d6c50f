package polsettest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Server is an HTTP server on a port of its own that can refuse every
// connection for a while.
type Server struct {
	handler http.Handler
	server  *http.Server
	address string
	paused  atomic.Bool

	mu       sync.Mutex // one Pause or Resume at a time
	listener net.Listener
}

// StartServer serves on a free port of 127.0.0.1.
func StartServer(handler http.Handler) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{handler: handler, address: listener.Addr().String(), listener: listener}
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.Serve(listener) }() // ends with the listener
	return s, nil
}

// URL is the server's address without a trailing slash.
func (s *Server) URL() string { return "http://" + s.address }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.paused.Load() { // a connection that was kept alive
		panic(http.ErrAbortHandler)
	}
	s.handler.ServeHTTP(w, r)
}

// Pause refuses every connection until Resume. Requests that are being served
// come to their end.
func (s *Server) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused.Swap(true) {
		_ = s.listener.Close()
	}
}

// Resume takes connections again, at the same address.
func (s *Server) Resume(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
		if err == nil {
			s.listener = listener
			s.paused.Store(false)
			go func() { _ = s.server.Serve(listener) }()
			return nil
		}
		select { // an outgoing connection may have the port for a moment
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("listen again on %s: %w", s.address, err)
		}
	}
}

// Close breaks every connection.
func (s *Server) Close() error { return s.server.Close() }
