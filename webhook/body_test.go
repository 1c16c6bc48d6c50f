package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/polset/polset/webhook"
)

// endless is a body without an end; it counts what was taken of it.
type endless struct{ taken atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.taken.Add(int64(len(p)))
	return len(p), nil
}

func TestLargeBodies(t *testing.T) {
	const limit = 1 << 20
	small := func(c *webhook.Config) { c.MaxBody = limit }
	pad := func(n int) []byte {
		b := payload(t, nil)
		return slices.Concat(b, bytes.Repeat([]byte(" "), n-len(b)))
	}

	t.Run("case 11 the limit itself", func(t *testing.T) {
		s := serve(t, small)
		s.answered(delivery("push", pad(limit)), 202, "accepted")
		s.refused(delivery("push", pad(limit+1)), 413, "too-large")
		for _, n := range []int{64<<10 - 1, 64 << 10, 64<<10 + 1} { // where the buffer grows
			s.answered(delivery("push", pad(n)), 200, "duplicate")
		}
	})

	t.Run("case 11 over 25 MiB", func(t *testing.T) {
		s := serve(t)
		got := s.refused(delivery("push", pad(25<<20+1)), 413, "too-large")
		if !strings.Contains(got.Message, "26214400") {
			t.Errorf("message %q does not name the limit", got.Message)
		}
		s.answered(delivery("push", pad(25<<20)), 202, "accepted")
	})

	t.Run("case 11 chunked", func(t *testing.T) {
		s := serve(t, small)
		r := delivery("push", pad(limit))
		r.length = -1
		s.answered(r, 202, "accepted")
		// The signature is right: what refuses is the cap, before the HMAC.
		r = delivery("push", pad(limit+1))
		r.length = -1
		s.refused(r, 413, "too-large")
	})

	t.Run("case 11 without an end", func(t *testing.T) {
		s := serve(t, small)
		r := delivery("push", nil)
		source := &endless{}
		r.body, r.length = source, -1
		req, err := http.NewRequestWithContext(t.Context(), r.method, s.URL+r.path, r.body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = r.header
		res, err := s.Client().Do(req)
		if err == nil { // or the server has hung up while we were still sending
			if got := s.read(res); got.code != 413 {
				t.Errorf("answer %d %s", got.code, got.raw)
			}
		}
		s.waitForLog("too-large")
		if taken := source.taken.Load(); taken > 16*limit {
			t.Errorf("%d bytes were sent", taken)
		}
	})

	t.Run("case 11 declared length too large", func(t *testing.T) {
		// It is refused before anything of the body was sent.
		s := serve(t)
		got := s.raw("Content-Length: 26214401", "")
		if got.code != 413 || !got.closes {
			t.Errorf("answer %d %s", got.code, got.raw)
		}
		got = s.raw("Content-Length: 9223372036854775807", "")
		if got.code != 413 {
			t.Errorf("answer %d %s", got.code, got.raw)
		}
	})

	t.Run("case 11 declared length lies", func(t *testing.T) {
		s := serve(t)
		body := string(payload(t, nil))
		// Less than was sent: what was declared is all that is looked at. The
		// rest is short, because a server that closes a connection with unread
		// bytes in it resets it, and its answer may be lost.
		if got := s.raw("Content-Length: 100", body[:150]); got.code != 401 {
			t.Errorf("answer %d %s", got.code, got.raw)
		}
		// More than was sent.
		if got := s.raw(fmt.Sprintf("Content-Length: %d", len(body)+1), body); got.code != 400 || got.Error != "malformed" {
			t.Errorf("answer %d %s", got.code, got.raw)
		}
		// Two lengths, or a length beside chunks, never get here.
		if got := s.raw("Content-Length: 5\r\nContent-Length: 6", "{}"); got.code != 400 || got.Error != "" {
			t.Errorf("answer %d %s", got.code, got.raw)
		}
		if deliveries, _, _ := s.memory.recorded(); len(deliveries) != 0 {
			t.Errorf("recorded %+v", deliveries)
		}
	})
}

// dial sends the headers of a signed push, one of them the caller's, and a
// body that need not fit.
func (s *server) dial(framing, body string) *net.TCPConn {
	s.t.Helper()
	return s.dialWith(delivery("push", payload(s.t, nil)), framing, body)
}

func (s *server) dialWith(r *request, framing, body string) *net.TCPConn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		s.t.Fatalf("connection %T", conn)
	}
	s.t.Cleanup(func() { _ = tcp.Close() })
	var head strings.Builder
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: polset\r\n%s\r\n", r.path, framing)
	for name, values := range r.header {
		fmt.Fprintf(&head, "%s: %s\r\n", name, values[0])
	}
	if _, err := io.WriteString(tcp, head.String()+"\r\n"+body); err != nil {
		s.t.Fatal(err)
	}
	return tcp
}

// hear reads the answer from a connection.
func (s *server) hear(conn net.Conn) reply {
	s.t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	return s.read(res)
}

// raw is dial, the end of the sending side, and hear.
func (s *server) raw(framing, body string) reply {
	s.t.Helper()
	conn := s.dial(framing, body)
	if err := conn.CloseWrite(); err != nil {
		s.t.Fatal(err)
	}
	return s.hear(conn)
}

// waitForLog waits until a delivery with this outcome was logged.
func (s *server) waitForLog(outcome string) {
	s.t.Helper()
	s.waitUntil("no log line with outcome "+outcome, func() bool {
		for _, entry := range s.logs.All() {
			if entry.ContextMap()["outcome"] == outcome {
				return true
			}
		}
		return false
	})
}

func (s *server) waitUntil(otherwise string, condition func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	for !condition() {
		if ctx.Err() != nil {
			s.t.Fatal(otherwise)
		}
		runtime.Gosched()
	}
}

func TestSlowBodies(t *testing.T) {
	const patience = 100 * time.Millisecond
	quick := func(c *webhook.Config) { c.BodyTimeout = patience }

	t.Run("case 13 slowloris", func(t *testing.T) {
		s := serve(t, quick)
		conn := s.dial("Content-Length: 10000", "{")
		dribbled := make(chan error, 1)
		go func() { // a byte now and then keeps no connection alive
			tick := time.NewTicker(patience / 10)
			defer tick.Stop()
			for range tick.C {
				if _, err := conn.Write([]byte(" ")); err != nil {
					dribbled <- err
					return
				}
			}
		}()
		began := time.Now()
		got := s.hear(conn)
		if got.code != http.StatusRequestTimeout || got.Error != "timeout" || !got.closes {
			t.Errorf("answer %d %s", got.code, got.raw)
		}
		if elapsed := time.Since(began); elapsed > 50*patience {
			t.Errorf("cut after %s", elapsed)
		}
		if err := <-dribbled; err == nil {
			t.Error("the connection was kept")
		}
	})

	t.Run("case 13 headers only", func(t *testing.T) {
		s := serve(t, quick)
		got := s.hear(s.dial("Transfer-Encoding: chunked", ""))
		if got.code != http.StatusRequestTimeout {
			t.Errorf("answer %d %s", got.code, got.raw)
		}
	})

	t.Run("a deadline of the body is none of the work", func(t *testing.T) {
		// The recorder takes longer than the body may: the request lives on,
		// and so does the connection.
		s := serve(t, quick)
		passed := make(chan struct{})
		s.memory.before = func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-passed:
				return nil
			}
		}
		time.AfterFunc(3*patience, func() { close(passed) })
		body := payload(t, nil)
		s.answered(delivery("push", body).to(ownID, body), 202, "accepted")
		s.answered(delivery("push", body).to(ownID, body), 200, "duplicate")
		if n := s.conns.Load(); n != 1 {
			t.Errorf("%d connections for two requests", n)
		}
	})

	t.Run("a refusal does not wait for the body", func(t *testing.T) {
		s := serve(t) // with half a minute for bodies
		r := delivery("push", payload(t, nil)).with("X-Hub-Signature-256")
		conn := s.dialWith(r, "Content-Length: 1000", "")
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if got := s.hear(conn); got.code != 401 || !got.closes {
			t.Errorf("answer %d %s", got.code, got.raw)
		}
	})
}

func TestBoundedMemory(t *testing.T) {
	// Room for three large bodies at the most: they are held open.
	const limit = 4 << 20
	s := serve(t, func(c *webhook.Config) { c.MaxBody, c.MaxBuffered = limit, 6*limit })
	part := strings.Repeat(" ", limit-1)
	framing := fmt.Sprintf("Content-Length: %d", limit)
	busy := func() bool {
		for _, entry := range s.logs.All() {
			if entry.ContextMap()["outcome"] == "busy" {
				return true
			}
		}
		return false
	}
	var held []*net.TCPConn
	for range 4 {
		conn := s.dial(framing, "")
		held = append(held, conn)
		go func() { _, _ = io.WriteString(conn, part) }() // may be refused on the way
	}
	s.waitUntil("four half-read bodies fit into the memory of three", busy)

	// The ordinary ones still get through.
	body := payload(t, nil)
	s.answered(delivery("push", body), 202, "accepted")

	for _, conn := range held {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// All memory comes back.
	large := slices.Concat(body, bytes.Repeat([]byte(" "), limit-len(body)))
	s.waitUntil("the memory did not come back", func() bool { return s.send(delivery("push", large)).code == 200 })
}
