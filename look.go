package polset

// A Look is a repository whose branches are due to be looked at, with one of
// the credentials that policy sets follow it with.
type Look struct {
	Repository Repository
	Credential string // ot-… or ghain-…
	Remote     Remote
	// Connected says that there is a credential to look with. Where there is
	// none the store has noted it on the policy sets already.
	Connected bool
	Branches  []string // that policy sets follow; "" is the default branch
	Number    int64    // of the look, as in a Batch
}
