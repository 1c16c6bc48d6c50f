package api

import (
	"net/http"

	"github.com/polset/polset"
)

// ingestionAttributes is one line of the commit-to-version history. HCP
// Terraform has no such resource.
type ingestionAttributes struct {
	CommitSHA *string `json:"commit-sha"`
	Branch    *string `json:"branch"`
	Cause     string  `json:"cause"`
	Status    string  `json:"status"`
	Reason    *string `json:"reason"`
	Delivery  *string `json:"delivery"`
	Attempts  int     `json:"attempts"`
	CreatedAt iso8601 `json:"created-at"`
	StartedAt iso8601 `json:"started-at"`
	EndedAt   iso8601 `json:"ended-at"`
}

func ingestionResource(ing polset.Ingestion) resource {
	return resource{
		ID:   ing.ID,
		Type: "policy-set-ingestions",
		Attributes: ingestionAttributes{
			CommitSHA: orNull(ing.Commit),
			Branch:    orNull(ing.Branch),
			Cause:     string(ing.Cause),
			Status:    string(ing.Status),
			Reason:    orNull(ing.Reason),
			Delivery:  orNull(ing.DeliveryGUID),
			Attempts:  ing.Attempts,
			CreatedAt: iso8601(ing.CreatedAt),
			StartedAt: iso8601(ing.StartedAt),
			EndedAt:   iso8601(ing.EndedAt),
		},
		Relationships: map[string]relation{
			"policy-set":         toOne("policy-sets", ing.PolicySetID),
			"policy-set-version": toOne("policy-set-versions", ing.VersionID),
		},
	}
}

func (a *API) listIngestions(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	filter, err := r.versionFilter(
		string(polset.IngestionPending), string(polset.IngestionRunning), string(polset.IngestionVersioned),
		string(polset.IngestionUnchanged), string(polset.IngestionFailed), string(polset.IngestionIgnored))
	if err != nil {
		return err
	}
	ingestions, total, err := a.Versions.Ingestions(r.ctx(), r.by, r.Param("policy_set"), filter, page)
	if err != nil {
		return err
	}
	var data []resource
	for _, ing := range ingestions {
		data = append(data, ingestionResource(ing))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total))
}
