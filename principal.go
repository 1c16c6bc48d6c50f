package polset

import "time"

// Permission is something that a token may do.
type Permission string

// The permissions.
const (
	PermissionRead Permission = "read"
	// PermissionCreateRuns is what a CI job needs to have a plan checked. It has
	// one of its own, since whoever may change a policy set is not stopped by it.
	PermissionCreateRuns      Permission = "create-runs"
	PermissionManagePolicies  Permission = "manage-policies"
	PermissionManageOverrides Permission = "manage-policy-overrides"
)

// Permissions lists every permission, the weakest first.
func Permissions() []Permission {
	return []Permission{PermissionRead, PermissionCreateRuns, PermissionManagePolicies, PermissionManageOverrides}
}

// A Token is the record of an API token; its secret is known to its holder only.
type Token struct {
	ID             string // at-…
	OrganizationID string // "": a site-admin token
	Organization   string
	Description    string
	Permissions    []Permission // of an organization's token; read is implied
	CreatedAt      time.Time
	ExpiresAt      time.Time // zero: never
	// LastUsedAt is to the minute, and known a little later; zero: never.
	LastUsedAt time.Time
}

// Effective lists what the token's holder may do: everything, for the site admin.
func (t Token) Effective() []Permission {
	holder := Principal{OrganizationID: t.OrganizationID, Permissions: t.Permissions}
	var held []Permission
	for _, p := range Permissions() {
		if holder.Can(p) {
			held = append(held, p)
		}
	}
	return held
}

// A TokenFilter narrows a list of tokens. The zero value lets all through.
type TokenFilter struct {
	Organization string // by name
	SiteAdmin    bool   // those of no organization
}

// A Principal is who asks.
type Principal struct {
	// Actor names the principal in logs and in the audit chain: a token's id,
	// "bootstrap", "cli", "github", or "polset" itself.
	Actor string
	// OrganizationID is the only organization the principal may see; ""
	// is the site admin, who sees all.
	OrganizationID string
	Permissions    []Permission // of an organization's token
}

// System is polset acting by itself.
var System = Principal{Actor: "polset"}

// SiteAdmin reports whether the principal may do everything.
func (p Principal) SiteAdmin() bool { return p.OrganizationID == "" }

// Can reports whether the principal holds a permission.
func (p Principal) Can(want Permission) bool {
	if p.SiteAdmin() || want == PermissionRead {
		return true
	}
	for _, have := range p.Permissions {
		if have == want || have == PermissionManagePolicies && want == PermissionCreateRuns {
			return true
		}
	}
	return false
}
