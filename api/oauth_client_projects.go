package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/polset/polset"
)

func (a *API) addOAuthClientProjects(r *request) error {
	return a.changeProjects(r, func(c *polset.ConnectionChange, ids []string) { c.AddProjects = ids })
}

// removeOAuthClientProjects is no mistake where a project was none of the client's.
func (a *API) removeOAuthClientProjects(r *request) error {
	return a.changeProjects(r, func(c *polset.ConnectionChange, ids []string) { c.RemoveProjects = ids })
}

func (a *API) changeProjects(r *request, change func(*polset.ConnectionChange, []string)) error {
	now, err := a.Connections.Connection(r.ctx(), r.by, r.Param("oauth_client"))
	if err != nil {
		return err
	}
	ids, err := decodeLinkage(r, "projects")
	if err != nil {
		return err
	}
	var c polset.ConnectionChange
	change(&c, ids)
	if len(c.AddProjects) > 0 {
		for n, id := range ids {
			switch _, err := a.projectIn(r, now.OrganizationID, id); {
			case errors.Is(err, polset.ErrNotFound):
				return missingProject(fmt.Sprintf("/data/%d/id", n))
			case err != nil:
				return err
			}
		}
	}
	if _, err := a.OAuthClients.UpdateConnection(r.ctx(), r.by, now.ID, c); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

// projectIn is a project of an organization, whoever asks; polset.ErrNotFound
// where it is another's.
func (a *API) projectIn(r *request, organizationID, projectID string) (polset.Project, error) {
	p, err := a.Projects.Project(r.ctx(), r.by, projectID)
	if err == nil && p.OrganizationID != organizationID {
		err = polset.ErrNotFound
	}
	return p, err
}

func (a *API) checkProjects(r *request, organizationID string, ids []string) error {
	for n, id := range ids {
		switch _, err := a.projectIn(r, organizationID, id); {
		case errors.Is(err, polset.ErrNotFound):
			return missingProject(fmt.Sprintf("/data/relationships/projects/data/%d", n))
		case err != nil:
			return err
		}
	}
	return nil
}

func missingProject(pointer string) problem {
	return problem{Status: http.StatusUnprocessableEntity, Title: "invalid relationship", Detail: member(pointer) + ": The project was not found.", Pointer: pointer}
}
