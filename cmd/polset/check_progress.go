package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress says what polset waits for: on a terminal in one line that lives, in
// a log in a line for each change.
type progress struct {
	to    io.Writer
	width func() int // of the terminal; nil for a log

	mu    sync.Mutex
	text  string
	since time.Time
	stop  chan struct{}
	done  chan struct{}
}

func newProgress(to *os.File) *progress {
	p := &progress{to: to}
	if fd := int(to.Fd()); term.IsTerminal(fd) { //nolint:gosec // a descriptor is an int
		p.width = func() int {
			if width, _, err := term.GetSize(fd); err == nil && width > 0 {
				return width
			}
			return 80
		}
		p.stop, p.done = make(chan struct{}), make(chan struct{})
		go p.live()
	}
	return p
}

// say replaces what was said before; saying the same again is no change.
func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text = plain(text); text == p.text {
		return
	}
	p.text, p.since = text, time.Now()
	if p.width == nil {
		fmt.Fprintf(p.to, "polset: %s\n", text) //nolint:errcheck // nobody to tell
		return
	}
	p.draw()
}

// live shows how long it takes, once a second.
func (p *progress) live() {
	defer close(p.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

// draw writes the line over itself, cut to the terminal so that it stays one.
func (p *progress) draw() {
	if p.text == "" {
		return
	}
	line := []rune("polset: " + p.text)
	if waited := time.Since(p.since).Round(time.Second); waited > 0 {
		line = append(line, []rune(fmt.Sprintf(" (%s)", waited))...)
	}
	if room := p.width() - 1; len(line) > room {
		line = append(line[:max(room-1, 0)], '…')
	}
	fmt.Fprintf(p.to, "\r\x1b[K%s", string(line)) //nolint:errcheck // nobody to tell
}

// end leaves nothing of the line that lives.
func (p *progress) end() {
	if p.width == nil {
		return
	}
	close(p.stop)
	<-p.done
	fmt.Fprint(p.to, "\r\x1b[K") //nolint:errcheck // nobody to tell
}
