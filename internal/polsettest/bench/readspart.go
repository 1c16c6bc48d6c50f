package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	_ "modernc.org/sqlite"             // the driver sqlite

	"github.com/polset/polset/internal/polsettest"
)

const (
	manySets  = 10_000
	fewSets   = 200
	readCount = 60 // requests of each kind
)

// What reads may cost, as ratios of what the same machine took in the same run.
const (
	listOverOne      = 12 // a page of a hundred, beside one of one
	lastOverFirst    = 2  // the last page, beside the first
	manyOverFew      = 3  // a page of 10,000, beside one of 200
	includedOverList = 10 // a page with all that it includes, beside the bare page
	includedOverShow = 6  // one with all that it includes, beside the bare one
)

const everyInclude = "include=policies,workspaces,projects,workspace_exclusions,project_exclusions,current_version,newest_version"

// reads measures how long clients wait for lists of policy sets and for single
// ones, from the request to the last byte of the answer.
func reads(ctx context.Context, b *bench) error {
	var rows [][]string
	var checks []check
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		r, c, err := b.readFrom(ctx, database)
		if err != nil {
			return fmt.Errorf("%s: %w", database, err)
		}
		rows, checks = append(rows, r...), append(checks, c...)
	}
	b.section("Reads of an organization with 10,000 policy sets, one request after the other")
	b.table([]string{"", "p50", "p99", "bytes"}, rows)
	b.checks(checks...)
	return nil
}

// A wait is how long the answers to one kind of request took.
type wait struct {
	what    string
	sample  []time.Duration
	answers int64 // bytes of one
}

func (b *bench) readFrom(ctx context.Context, database string) (rows [][]string, checks []check, err error) {
	defer b.progress("reads on %s", database)()
	err = b.withFreshNode(ctx, database, 1, func(n *node, databaseURL string) error {
		if err := n.populate(ctx, databaseURL); err != nil {
			return err
		}
		list, few := "/api/v2/organizations/many/policy-sets?", "/api/v2/organizations/few/policy-sets?"
		one := "/api/v2/policy-sets/polset-many-5000"
		paths := []struct{ what, path string }{
			{"a list of 1", list + "page[size]=1"},
			{"a list of 100", list + "page[size]=100"},
			{"the last 100", list + "page[size]=100&page[number]=100"},
			{"100 of 200", few + "page[size]=100"},
			{"100 with all includes", list + "page[size]=100&page[number]=50&" + everyInclude},
			{"one", one},
			{"one with all includes", one + "?" + everyInclude},
		}
		waits := make([]wait, len(paths))
		// In turn, so that whatever else the machine does meets all of them.
		for range readCount {
			for i, p := range paths {
				took, size, err := n.read(ctx, p.path)
				if err != nil {
					return err
				}
				waits[i].what, waits[i].sample, waits[i].answers = p.what, append(waits[i].sample, took), size
			}
		}
		for _, w := range waits {
			rows = append(rows, []string{database + ", " + w.what, ms(median(w.sample)), ms(percentile(w.sample, 99)), bytesOf(float64(w.answers))})
		}
		ratio := func(what string, above, below int, limit float64) {
			value := float64(median(waits[above].sample)) / float64(median(waits[below].sample))
			checks = append(checks, atMost(fmt.Sprintf("%s: %s, beside %s", database, waits[above].what, what), value, limit, times))
		}
		ratio("a list of 1", 1, 0, listOverOne)
		ratio("the first 100", 2, 1, lastOverFirst)
		ratio("100 of 200", 1, 3, manyOverFew)
		ratio("a list of 100", 4, 1, includedOverList)
		ratio("one", 6, 5, includedOverShow)
		return nil
	})
	return rows, checks, err
}

// populate makes the organizations many and few.
func (n *node) populate(ctx context.Context, databaseURL string) (err error) {
	driver := "sqlite"
	if strings.HasPrefix(databaseURL, "postgres") {
		driver = "pgx"
	}
	db, err := sql.Open(driver, databaseURL)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, o := range []struct {
		name string
		sets int
	}{{"many", manySets}, {"few", fewSets}} {
		if _, err := n.create(ctx, "/api/v2/organizations", "organizations", map[string]any{"name": o.name, "email": o.name + "@example.com"}); err != nil {
			return err
		}
		if err := polsettest.Populate(ctx, db, o.name, o.sets); err != nil {
			return err
		}
	}
	return nil
}

// read asks for a path and reads the answer to its end.
func (n *node) read(ctx context.Context, path string) (took time.Duration, size int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+path, nil)
	if err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", path, err)
	}
	request.Header.Set("Authorization", "Bearer "+n.token)
	began := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", path, err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end below
	size, err = io.Copy(io.Discard, response.Body)
	took = time.Since(began)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", response.StatusCode)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", path, err)
	}
	return took, size, nil
}
