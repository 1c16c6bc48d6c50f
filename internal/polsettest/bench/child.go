package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// childArgument makes this program one of its own children.
const childArgument = "child"

// childStop is how long a child may take to end after its input has.
const childStop = 10 * time.Second

// A child is this program again, in a process of its own, so that what is
// measured of it is measured of it alone. It answers questions in JSON and
// ends with its standard input, that is with its parent, however that ends.
type child struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	questions *json.Encoder
	answers   *json.Decoder
}

// An answer is one line of a child's output.
type answer struct {
	Error string          `json:"error,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}

// startChild starts a child whose temporary files all go to temp.
func startChild(ctx context.Context, role, temp string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, childArgument, role)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	cmd.Cancel, cmd.WaitDelay = in.Close, childStop
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return &child{cmd: cmd, in: in, questions: json.NewEncoder(in), answers: json.NewDecoder(out)}, nil
}

// ask sends a question and waits for its answer.
func (c *child) ask(question, value any) error {
	if err := c.questions.Encode(question); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	var a answer
	if err := c.answers.Decode(&a); err != nil {
		return fmt.Errorf("wait for an answer: %w", err)
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	if err := json.Unmarshal(a.Value, value); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// stop ends the child and waits for it.
func (c *child) stop() error {
	_ = c.in.Close() // what ends a child; it may have ended already
	if err := c.cmd.Wait(); err != nil && c.cmd.ProcessState == nil {
		return fmt.Errorf("wait for a child: %w", err)
	}
	return nil
}

// measure starts a fresh child, asks it one thing, and ends it.
func measure(ctx context.Context, role, temp string, question, value any) (err error) {
	c, err := startChild(ctx, role, temp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	return c.ask(question, value)
}

// A role is what a child does with questions.
type role interface {
	answer(ctx context.Context, question json.RawMessage) (any, error)
	close() error
}

// childMain is the child's side; it returns the exit code.
func childMain(name string) int {
	// A terminal's Ctrl-C reaches parent and child alike.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := answerQuestions(ctx, name, os.Stdin, json.NewEncoder(os.Stdout)); err != nil && ctx.Err() == nil {
		_, _ = fmt.Fprintf(os.Stderr, "bench %s: %v\n", name, err)
		return 1
	}
	return 0
}

func answerQuestions(ctx context.Context, name string, in io.Reader, out *json.Encoder) (err error) {
	var does role
	switch name {
	case roleGit:
		does = &gitRole{}
	case roleFetch:
		does = fetchRole{}
	case roleIngest:
		does = ingestRole{}
	default:
		return fmt.Errorf("there is no role %q", name)
	}
	defer func() { err = errors.Join(err, does.close()) }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	questions := make(chan json.RawMessage)
	go func() {
		defer cancel() // the parent is gone, or wants the child gone
		decoder := json.NewDecoder(in)
		for {
			var q json.RawMessage
			if decoder.Decode(&q) != nil {
				return
			}
			select {
			case questions <- q:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case q := <-questions:
			if err := out.Encode(answerTo(ctx, does, q)); err != nil {
				return fmt.Errorf("answer: %w", err)
			}
		}
	}
}

func answerTo(ctx context.Context, does role, question json.RawMessage) (a answer) {
	defer func() {
		if p := recover(); p != nil { // the git server panics with what it cannot do
			a = answer{Error: fmt.Sprint(p)}
		}
	}()
	value, err := does.answer(ctx, question)
	if err == nil {
		a.Value, err = json.Marshal(value)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return a
}
