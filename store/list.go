package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// maxPage bounds a page whatever the caller asks for.
const maxPage = 1000

// window turns a page into LIMIT and OFFSET.
func window(p polset.Page) (limit, offset int32) {
	p.Size, p.Number = min(max(p.Size, 1), maxPage), min(max(p.Number, 1), 1_000_000)
	return int32(p.Size), int32(p.Offset()) //nolint:gosec // bounded
}

// A filter collects the conditions of a list query and their arguments.
type filter struct {
	conditions []string
	args       []any
}

// add appends a condition in which each ? stands for the next argument.
func (f *filter) add(condition string, args ...any) {
	for _, a := range args {
		f.args = append(f.args, a)
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(f.args)), 1)
	}
	f.conditions = append(f.conditions, condition)
}

// in appends the condition that a column has one of the values.
func (f *filter) in(column string, values []string) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	f.add(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

func (f *filter) where() string { return " WHERE " + strings.Join(f.conditions, " AND ") }

// page appends the window of a page, and its arguments to a copy of f's.
func (f *filter) page(p polset.Page) (clause string, args []any) {
	limit, offset := window(p)
	n := len(f.args)
	return fmt.Sprintf(" LIMIT $%d OFFSET $%d", n+1, n+2), append(f.args[:n:n], limit, offset)
}

// queryAll runs a query that names its rows what, and makes a T of each, in the
// query's order; an empty list is not nil.
func queryAll[T any](ctx context.Context, s *Store, what, query string, args []any, one func(*sql.Rows) (T, error)) ([]T, error) {
	return selectAll(ctx, s.dialect.reader(), what, query, args, one)
}

// selectAll is queryAll on a connection or in a transaction.
func selectAll[T any](ctx context.Context, db rows.DBTX, what, query string, args []any, one func(*sql.Rows) (T, error)) ([]T, error) {
	result, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	defer result.Close() //nolint:errcheck // Err below tells
	out := []T{}
	for result.Next() {
		v, err := one(result)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", what, err)
		}
		out = append(out, v)
	}
	if err := result.Err(); err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	return out, nil
}

// queryPage is queryAll for one page of a table, and the count of all its rows that
// the filter lets through.
func queryPage[T any](ctx context.Context, s *Store, table, query string, f filter, order string, p polset.Page, one func(*sql.Rows) (T, error)) ([]T, int, error) {
	return selectPage(ctx, s.dialect.reader(), table, query, f, order, p, one)
}

// selectPage is queryPage on a connection or in a transaction.
func selectPage[T any](ctx context.Context, db rows.DBTX, table, query string, f filter, order string, p polset.Page, one func(*sql.Rows) (T, error)) ([]T, int, error) {
	var total int
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM "+table+f.where(), f.args...).Scan(&total) // #nosec G202 -- constants; values are arguments
	if err != nil {
		return nil, 0, fmt.Errorf("count %s: %w", table, err)
	}
	window, args := f.page(p)
	out, err := selectAll(ctx, db, table, query+f.where()+" ORDER BY "+order+window, args, one)
	return out, total, err
}

// snapshot lets f read one state of the database.
func (s *Store) snapshot(ctx context.Context, f func(db rows.DBTX) error) (err error) {
	tx, err := s.dialect.reader().BeginTx(ctx, s.dialect.snapshot())
	if err != nil {
		return err
	}
	defer func() {
		if rerr := tx.Rollback(); rerr != nil && err == nil {
			err = rerr
		}
	}()
	return f(tx)
}

// queryByID is queryAll for the rows of a table that have one of the ids and are
// in an organization that the principal may see.
func queryByID[T any](ctx context.Context, s *Store, table, query string, by polset.Principal, ids []string, one func(*sql.Rows) (T, error)) ([]T, error) {
	var out []T
	for chunk := range slices.Chunk(ids, maxPage) {
		var q filter
		q.in(table+".id", chunk)
		if by.OrganizationID != "" {
			q.add(table+".organization_id = ?", by.OrganizationID)
		}
		list, err := queryAll(ctx, s, table, query+q.where(), q.args, one)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// like turns a text into the pattern that matches it anywhere; the condition
// must say ESCAPE '!'.
func like(text string) string { return "%" + literal(text) + "%" }

// literal turns a text into the pattern that matches it and nothing else.
func literal(text string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(text))
}

// textsColumn is a list of texts as the rows hold it.
func textsColumn(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(fmt.Sprintf("write the list %q: %v", list, err)) // texts always can be
	}
	return string(b)
}

// texts reads a list of texts as the rows hold it, JSON; what cannot be read
// was not written by this store.
func texts(column string) []string {
	var list []string
	if err := json.Unmarshal([]byte(column), &list); err != nil {
		panic(fmt.Sprintf("read the list %q: %v", column, err))
	}
	return list
}
