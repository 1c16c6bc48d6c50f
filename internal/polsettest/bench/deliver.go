package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/polset/polset/internal/polsettest"
)

const (
	// deliveryLimit is how long GitHub waits for an answer.
	deliveryLimit = 10 * time.Second
	// senders is how many deliveries are under way at once at saturation.
	senders = 16
)

// A sender delivers pushes of one repository to one node, each with a GUID and
// a commit of its own. The payload is made once: what is measured is not the
// sender.
type sender struct {
	node    *node
	client  *http.Client
	payload []byte
}

// placeholder stands in the payload for the commit.
const placeholder = "abcdefabcdefabcdefabcdefabcdefabcdefabcd"

func newSender(n *node, repo repository) *sender {
	return &sender{
		node:   n,
		client: &http.Client{Timeout: deliveryLimit, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
		payload: polsettest.PushEvent(polsettest.Push{
			Repository: repo.Identifier, RepositoryID: repo.ID, Before: repo.Commit, After: placeholder,
			Commits: []polsettest.PushCommit{{ID: placeholder, TreeID: repo.Tree, Message: "Change policies"}},
		}),
	}
}

func (s *sender) close() { s.client.CloseIdleConnections() }

// unknownCommit is one that no repository has.
func unknownCommit() string {
	var id [20]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// deliver sends one push and wants it accepted.
func (s *sender) deliver(ctx context.Context, commit string) error {
	body := bytes.ReplaceAll(s.payload, []byte(placeholder), []byte(commit))
	request, err := polsettest.NewDelivery(ctx, s.node.url+"/webhooks/github", s.node.hookSecret, "push", uuid.NewString(), body)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("deliver a push: %w", err)
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close() // it was only read
	if err != nil {
		return fmt.Errorf("deliver a push: %w", err)
	}
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("a delivery was answered %d: %s", response.StatusCode, text)
	}
	return nil
}

// A load is what a series of deliveries came to.
type load struct {
	Latency []time.Duration // of those that were accepted
	Wall    time.Duration
	Failure error // the first
}

func (l *load) add(latency time.Duration, err error) {
	if err == nil {
		l.Latency = append(l.Latency, latency)
		return
	}
	if l.Failure == nil {
		l.Failure = err
	}
}

// steadily delivers count pushes at a steady rate. A delivery that comes late
// because an earlier one is slow counts from when it was due.
func (s *sender) steadily(ctx context.Context, perSecond, count int, commit func(int) string) load {
	var mu sync.Mutex
	var l load
	var running sync.WaitGroup
	began := time.Now()
	for i := range count {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		timer := time.NewTimer(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			err := s.deliver(ctx, commit(i))
			mu.Lock()
			defer mu.Unlock()
			l.add(time.Since(due), err)
		})
	}
	running.Wait()
	l.Wall = time.Since(began)
	return l
}

// saturated delivers as fast as a few senders can, for a while.
func (s *sender) saturated(ctx context.Context, during time.Duration) load {
	var mu sync.Mutex
	var l load
	var running sync.WaitGroup
	began := time.Now()
	for range senders {
		running.Go(func() {
			for time.Since(began) < during && ctx.Err() == nil {
				sent := time.Now()
				err := s.deliver(ctx, unknownCommit())
				mu.Lock()
				l.add(time.Since(sent), err)
				mu.Unlock()
			}
		})
	}
	running.Wait()
	l.Wall = time.Since(began)
	return l
}
