package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/polset/polset/internal/polsettest"
)

const (
	steadyRate    = 100 // deliveries a second
	steadyCount   = 1_000
	saturatedTime = 10 * time.Second
	workers       = 16 // polset's default
)

// webhooks measures how long GitHub waits for an answer. The answer is sent
// after the delivery, its ingestion, its audit row and its job are committed
// together, to a disk.
func webhooks(ctx context.Context, b *bench) error {
	var rows [][]string
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		quiet, err := b.receive(ctx, database)
		if err != nil {
			return fmt.Errorf("%s: %w", database, err)
		}
		busy, err := b.receiveAndIngest(ctx, database)
		if err != nil {
			return fmt.Errorf("%s: %w", database, err)
		}
		rows = append(append(rows, quiet...), busy...)
	}
	b.section("Webhook deliveries, each with a commit of its own, answered 202 after a durable commit")
	b.table([]string{"", "a second", "p50", "p99", "slowest", "accepted"}, rows)
	b.print("  All are pushes to one repository, which a database takes one after the other.\n")
	b.print("  Where nothing is said of ingests, the git server does not answer, so that there are none.\n")
	b.print("  Where there are, they, the git server and the receiver share the processors.\n\n")
	return nil
}

func loadRow(what string, l load) []string {
	return []string{
		what, fmt.Sprintf("%.0f", perSecond(len(l.Latency), l.Wall)),
		ms(percentile(l.Latency, 50)), ms(percentile(l.Latency, 99)), ms(percentile(l.Latency, 100)),
		bytesOf(float64(len(l.Latency))),
	}
}

// receive measures the receiver alone: at a steady rate, and at saturation.
func (b *bench) receive(ctx context.Context, database string) (rows [][]string, err error) {
	defer b.progress("deliveries on %s", database)()
	err = b.withNode(ctx, database, 1, func(_ string, s *sender) (err error) {
		if err := b.git.hold(true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.git.hold(false)) }()
		steady := s.steadily(ctx, steadyRate, steadyCount, func(int) string { return unknownCommit() })
		if steady.Failure != nil {
			return steady.Failure
		}
		saturated := s.saturated(ctx, saturatedTime)
		rows = [][]string{
			loadRow(fmt.Sprintf("%s, %d a second", database, steadyRate), steady),
			loadRow(fmt.Sprintf("%s, %d senders", database, senders), saturated),
		}
		return saturated.Failure
	})
	return rows, err
}

// receiveAndIngest measures the receiver while what it receives is ingested.
func (b *bench) receiveAndIngest(ctx context.Context, database string) (rows [][]string, err error) {
	defer b.progress("deliveries and ingests on %s", database)()
	err = b.withNode(ctx, database, workers, func(setID string, s *sender) error {
		history := b.repos[pushed.Name].History
		if len(history) < steadyCount {
			return fmt.Errorf("the repository has only %d commits", len(history))
		}
		l := s.steadily(ctx, steadyRate, steadyCount, func(i int) string { return history[i] })
		if l.Failure != nil {
			return l.Failure
		}
		versions, err := s.node.ready(ctx, setID)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%s, %d a second, %.0f ingested a second", database, steadyRate, perSecond(versions, l.Wall))
		rows = [][]string{loadRow(what, l)}
		return nil
	})
	return rows, err
}

// withNode runs f on a fresh polset with a policy set that follows the
// repository, and removes both.
func (b *bench) withNode(ctx context.Context, database string, workers int, f func(setID string, s *sender) error) error {
	return b.withFreshNode(ctx, database, workers, func(n *node, _ string) error {
		repo := b.repos[pushed.Name]
		setID, err := n.follow(ctx, repo)
		if err != nil {
			return err
		}
		s := newSender(n, repo)
		defer s.close()
		return f(setID, s)
	})
}

// withFreshNode runs f on a fresh polset and its database, the URL of which is
// a file's path for SQLite, and removes both.
func (b *bench) withFreshNode(ctx context.Context, database string, workers int, f func(n *node, databaseURL string) error) (err error) {
	dir, err := os.MkdirTemp(b.temp, "node-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	databaseURL := ""
	if database == "PostgreSQL" {
		var drop func() error
		if databaseURL, drop, err = freshDatabase(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, drop()) }()
	}
	n, err := startNode(ctx, b.binary, dir, databaseURL, b.git.URL, workers)
	if err != nil {
		return err
	}
	defer n.kill()
	if databaseURL == "" {
		databaseURL = filepath.Join(dir, "data", "polset.db")
	}
	if err := f(n, databaseURL); err != nil {
		return fmt.Errorf("%w; polset's log ends:\n%s", err, n.tail())
	}
	return ctx.Err()
}

// freshDatabase makes a database on the server of internal/polsettest/services.
func freshDatabase(ctx context.Context) (databaseURL string, drop func() error, err error) {
	server := os.Getenv(polsettest.EnvDatabaseURL)
	if server == "" {
		return "", nil, fmt.Errorf("%s is not set: run the bench through make bench, which starts PostgreSQL for it", polsettest.EnvDatabaseURL)
	}
	name := "bench_" + strings.ToLower(rand.Text())
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, fmt.Errorf("parse %s: %w", polsettest.EnvDatabaseURL, err)
	}
	u.Path = "/" + name
	if err := administer(ctx, server, "CREATE DATABASE "+name); err != nil {
		return "", nil, err
	}
	return u.String(), func() error {
		return administer(context.WithoutCancel(ctx), server, "DROP DATABASE "+name+" WITH (FORCE)")
	}, nil
}

func administer(ctx context.Context, server, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
