package webhook

import (
	"context"
	"testing"
	"time"

	"github.com/polset/polset"
)

// waiting tells when somebody begins to wait for its end.
type waiting struct {
	context.Context
	begun chan struct{}
}

func (w waiting) Done() <-chan struct{} {
	w.begun <- struct{}{}
	return w.Context.Done()
}

// TestReadingUnderWay shows that an answer which is older than a request allows
// is not the request's: a secret may have been replaced since.
func TestReadingUnderWay(t *testing.T) {
	now, questions, answers := time.Unix(1_770_000_000, 0), make(chan struct{}), make(chan string)
	a := &appSecrets{now: func() time.Time { return now }, read: func(context.Context) ([]polset.Secret, error) {
		questions <- struct{}{}
		return []polset.Secret{polset.NewSecret(<-answers)}, nil
	}}
	request := func() (waiting, chan string) {
		w, got := waiting{t.Context(), make(chan struct{}, 2)}, make(chan string, 1)
		go func() { got <- a.ask(w, time.Second).secrets[0].Reveal() }()
		return w, got
	}
	_, first := request()
	<-questions
	now = now.Add(time.Second)
	late, second := request()
	<-late.begun
	answers <- "old"
	if got := <-first; got != "old" {
		t.Errorf("who asked got %q", got)
	}
	select {
	case <-questions:
		answers <- "new"
	case got := <-second:
		t.Fatalf("a second later the answer is still %q", got)
	}
	if got := <-second; got != "new" {
		t.Errorf("who came later got %q", got)
	}
}
