package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// Tool versions belong to the site: to everybody else they do not exist.

// CreateToolVersion assigns the id. A version of the tool that exists is
// ErrConflict.
func (s *Store) CreateToolVersion(ctx context.Context, by polset.Principal, v polset.ToolVersion) (polset.ToolVersion, error) {
	var out polset.ToolVersion
	err := s.writeTool(ctx, by, func(ctx context.Context, tx *tx) error {
		builds, err := json.Marshal(v.Builds)
		if err != nil {
			return err
		}
		id := polset.NewID("tool")
		n, err := tx.InsertToolVersion(ctx, rows.InsertToolVersionParams{
			ID: id, Tool: string(v.Tool), Version: v.Version, URL: v.URL, SHA: v.SHA, Archs: string(builds), Official: v.Official,
			Enabled: v.Enabled, Beta: v.Beta, Deprecated: v.Deprecated, DeprecatedReason: v.DeprecatedReason, CreatedAt: tx.now,
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("the version is taken: %w", polset.ErrConflict)
		}
		tx.note(polset.ChainSite, "tool-version.created", id, map[string]string{"tool": string(v.Tool), "version": v.Version, "url": v.URL, "sha": v.SHA})
		out, err = toolVersionOf(ctx, tx.Queries, v.Tool, id)
		return err
	})
	if err != nil {
		return polset.ToolVersion{}, fmt.Errorf("create %s version %q: %w", v.Tool, v.Version, err)
	}
	return out, nil
}

// ToolVersion returns a version of a tool by id.
func (s *Store) ToolVersion(ctx context.Context, by polset.Principal, tool polset.Kind, id string) (polset.ToolVersion, error) {
	if !by.SiteAdmin() {
		return polset.ToolVersion{}, fmt.Errorf("read tool version %s: %w", id, polset.ErrNotFound)
	}
	return toolVersionOf(ctx, s.reads, tool, id)
}

// ToolVersions lists the versions of a tool in the order of their creation,
// and says how many there are in all.
func (s *Store) ToolVersions(ctx context.Context, by polset.Principal, tool polset.Kind, f polset.ToolFilter, page polset.Page) ([]polset.ToolVersion, int, error) {
	if !by.SiteAdmin() {
		return nil, 0, fmt.Errorf("list tool versions: %w", polset.ErrNotFound)
	}
	var q filter
	q.add("tool_versions.tool = ?", string(tool))
	if f.Version != "" {
		q.add("tool_versions.version = ?", f.Version)
	}
	if f.Search != "" {
		q.add("lower(tool_versions.version) LIKE ? ESCAPE '!'", like(f.Search))
	}
	return queryPage(ctx, s, "tool_versions", `SELECT tool_versions.sequence, tool_versions.id, tool_versions.tool, tool_versions.version,
	tool_versions.url, tool_versions.sha, tool_versions.archs, tool_versions.official, tool_versions.enabled, tool_versions.beta,
	tool_versions.deprecated, tool_versions.deprecated_reason, tool_versions.created_at,
	(SELECT count(*) FROM policy_sets WHERE policy_sets.kind = tool_versions.tool AND policy_sets.policy_tool_version = tool_versions.version)
FROM tool_versions`, q, "tool_versions.sequence", page, func(result *sql.Rows) (polset.ToolVersion, error) {
		var v rows.ToolVersion
		var usage int64
		err := result.Scan(&v.Sequence, &v.ID, &v.Tool, &v.Version, &v.URL, &v.SHA, &v.Archs, &v.Official, &v.Enabled, &v.Beta,
			&v.Deprecated, &v.DeprecatedReason, &v.CreatedAt, &usage)
		if err != nil {
			return polset.ToolVersion{}, err
		}
		return toolVersion(v, usage), nil
	})
}

// UpdateToolVersion changes a version of a tool. A version that exists is
// ErrConflict.
func (s *Store) UpdateToolVersion(ctx context.Context, by polset.Principal, tool polset.Kind, id string, c polset.ToolVersionChange) (polset.ToolVersion, error) {
	var out polset.ToolVersion
	err := s.writeTool(ctx, by, func(ctx context.Context, tx *tx) error {
		if err := tx.lock(ctx, toolVersionRow, id); err != nil {
			return err
		}
		v, err := toolVersionOf(ctx, tx.Queries, tool, id)
		if err != nil {
			return err
		}
		before := v
		v = v.With(c)
		changed := toolChanges(before, v)
		if len(changed) == 0 {
			out = before
			return nil
		}
		builds, err := json.Marshal(v.Builds)
		if err != nil {
			return err
		}
		err = tx.UpdateToolVersion(ctx, rows.UpdateToolVersionParams{
			ID: id, Version: v.Version, URL: v.URL, SHA: v.SHA, Archs: string(builds), Official: v.Official,
			Enabled: v.Enabled, Beta: v.Beta, Deprecated: v.Deprecated, DeprecatedReason: v.DeprecatedReason,
		})
		if err != nil {
			return s.nameTaken(err)
		}
		tx.note(polset.ChainSite, "tool-version.updated", id, map[string]string{
			"changed": strings.Join(changed, " "), "tool": string(tool), "version": v.Version, "url": v.URL, "sha": v.SHA,
		})
		out, err = toolVersionOf(ctx, tx.Queries, tool, id)
		return err
	})
	if err != nil {
		return polset.ToolVersion{}, fmt.Errorf("update tool version %s: %w", id, err)
	}
	return out, nil
}

// toolChanges names the attributes that became others.
func toolChanges(before, after polset.ToolVersion) (changed []string) {
	for _, a := range []struct {
		name    string
		changed bool
	}{
		{"version", after.Version != before.Version},
		{"url", after.URL != before.URL},
		{"sha", after.SHA != before.SHA},
		{"archs", !slices.Equal(after.Builds, before.Builds)},
		{"official", after.Official != before.Official},
		{"enabled", after.Enabled != before.Enabled},
		{"beta", after.Beta != before.Beta},
		{"deprecated", after.Deprecated != before.Deprecated},
		{"deprecated-reason", after.DeprecatedReason != before.DeprecatedReason},
	} {
		if a.changed {
			changed = append(changed, a.name)
		}
	}
	return changed
}

// DeleteToolVersion removes a version of a tool. Policy sets that ask for it
// go on asking.
func (s *Store) DeleteToolVersion(ctx context.Context, by polset.Principal, tool polset.Kind, id string) error {
	err := s.writeTool(ctx, by, func(ctx context.Context, tx *tx) error {
		v, err := toolVersionOf(ctx, tx.Queries, tool, id)
		if err != nil {
			return err
		}
		if n, err := tx.DeleteToolVersion(ctx, id); err != nil || n == 0 {
			return cmp.Or(err, polset.ErrNotFound) // somebody else did
		}
		tx.note(polset.ChainSite, "tool-version.deleted", id, map[string]string{"tool": string(tool), "version": v.Version})
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete tool version %s: %w", id, err)
	}
	return nil
}

func (s *Store) writeTool(ctx context.Context, by polset.Principal, f func(context.Context, *tx) error) error {
	if !by.SiteAdmin() {
		return polset.ErrNotFound
	}
	return s.write(ctx, by, f)
}

func toolVersionOf(ctx context.Context, q *rows.Queries, tool polset.Kind, id string) (polset.ToolVersion, error) {
	v, err := q.ToolVersion(ctx, rows.ToolVersionParams{ID: id, Tool: string(tool)})
	if err != nil {
		return polset.ToolVersion{}, fmt.Errorf("read tool version %s: %w", id, found(err))
	}
	usage, err := q.PolicySetsWithTool(ctx, rows.PolicySetsWithToolParams{Kind: v.Tool, PolicyToolVersion: v.Version})
	if err != nil {
		return polset.ToolVersion{}, fmt.Errorf("count what uses tool version %s: %w", id, err)
	}
	return toolVersion(v, usage), nil
}

func toolVersion(v rows.ToolVersion, usage int64) polset.ToolVersion {
	out := polset.ToolVersion{
		ID: v.ID, Tool: polset.Kind(v.Tool), Version: v.Version, URL: v.URL, SHA: v.SHA, Official: v.Official, Enabled: v.Enabled,
		Beta: v.Beta, Deprecated: v.Deprecated, DeprecatedReason: v.DeprecatedReason, Usage: int(usage), CreatedAt: v.CreatedAt.UTC(),
	}
	if err := json.Unmarshal([]byte(v.Archs), &out.Builds); err != nil {
		panic(fmt.Sprintf("read the builds of %s: %v", v.ID, err)) // this store wrote them
	}
	return out
}
