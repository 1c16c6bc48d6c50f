package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// Connections lists an organization's connections, the oldest first, and says
// how many there are in all.
func (s *Store) Connections(ctx context.Context, by polset.Principal, organization string, page polset.Page) ([]polset.Connection, int, error) {
	o, err := s.Organization(ctx, by, organization)
	if err != nil {
		return nil, 0, fmt.Errorf("list connections: %w", err)
	}
	var q filter
	q.add("organization_id = ?", o.ID)
	const columns = `SELECT id, token_id, organization_id, name, service_provider, http_url, api_url, created_at,
		organization_scoped, service_provider_user, oauth_key FROM connections`
	list, total, err := queryPage(ctx, s, "connections", columns, q, "created_at, id", page, func(result *sql.Rows) (polset.Connection, error) {
		var r rows.Connection
		err := result.Scan(&r.ID, &r.TokenID, &r.OrganizationID, &r.Name, &r.ServiceProvider, &r.HTTPURL, &r.APIURL, &r.CreatedAt,
			&r.OrganizationScoped, &r.ServiceProviderUser, &r.OAuthKey)
		return connection(r, o.Name), err
	})
	if err != nil {
		return nil, 0, err
	}
	return list, total, s.addProjects(ctx, list)
}

func (s *Store) withProjects(ctx context.Context, c polset.Connection) (polset.Connection, error) {
	list := []polset.Connection{c}
	err := s.addProjects(ctx, list)
	return list[0], err
}

// addProjects fills in the projects of connections, in one statement for all.
func (s *Store) addProjects(ctx context.Context, list []polset.Connection) error {
	if len(list) == 0 {
		return nil
	}
	ids, at := make([]string, len(list)), map[string]int{}
	for n, c := range list {
		ids[n], at[c.ID] = c.ID, n
	}
	var q filter
	q.in("connection_id", ids)
	pairs, err := queryAll(ctx, s, "connection_projects", "SELECT connection_id, project_id FROM connection_projects"+q.where(),
		q.args, func(result *sql.Rows) (p rows.ConnectionProject, err error) {
			return p, result.Scan(&p.ConnectionID, &p.ProjectID)
		})
	slices.SortFunc(pairs, func(a, b rows.ConnectionProject) int { return cmp.Compare(a.ProjectID, b.ProjectID) })
	for _, p := range pairs {
		c := &list[at[p.ConnectionID]]
		c.Projects = append(c.Projects, p.ProjectID)
	}
	return err
}
