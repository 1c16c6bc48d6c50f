package api

import "github.com/polset/polset"

func tagIDs(tags []polset.TagBinding) []string {
	ids := make([]string, len(tags))
	for i, t := range tags {
		ids[i] = t.ID
	}
	return ids
}
