package store

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

// TestTenancy calls every exported method that takes a principal with another
// organization's, for things that exist, and demands the answer for things
// that do not. A method that is missing from the table fails the test.
func TestTenancy(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		token, _, err := b.CreateToken(b.ctx(), admin, polset.Token{Organization: b.org.Name})
		b.must(err)
		rule := b.policy("rule", polset.KindSentinel)
		param, err := b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "size"})
		b.must(err)
		theirs := b.organization("rivals")
		foreign := b.connection("rivals")
		installed := b.installed(51, "acme", b.org.Name)
		rival := polset.Principal{Actor: "at-rival", OrganizationID: theirs.ID, Permissions: polset.Permissions()}
		page := polset.Page{Number: 1, Size: 10}
		name := "stolen"

		hidden := map[string]func(ctx context.Context) error{
			"CreateOrganization": func(ctx context.Context) error {
				return second(b.CreateOrganization(ctx, rival, polset.Organization{Name: "more"}))
			},
			"Organization":       func(ctx context.Context) error { return second(b.Organization(ctx, rival, b.org.Name)) },
			"DeleteOrganization": func(ctx context.Context) error { return b.DeleteOrganization(ctx, rival, b.org.Name) },
			"UpdateOrganization": func(ctx context.Context) error {
				b.want(second(b.UpdateOrganization(ctx, rival, theirs.Name, polset.OrganizationChange{Name: &name})), polset.ErrNotFound)
				return second(b.UpdateOrganization(ctx, rival, b.org.Name, polset.OrganizationChange{Name: &name}))
			},
			"CreateToken": func(ctx context.Context) error {
				_, _, err := b.CreateToken(ctx, rival, polset.Token{Organization: b.org.Name})
				b.want(err, polset.ErrNotFound)
				_, _, err = b.CreateToken(ctx, rival, polset.Token{}) // a site token
				b.want(err, polset.ErrNotFound)
				_, _, err = b.CreateToken(ctx, rival, polset.Token{OrganizationID: b.org.ID})
				return err
			},
			"Token": func(ctx context.Context) error { return second(b.Token(ctx, rival, token.ID)) },
			"Tokens": func(ctx context.Context) error {
				_, _, err := b.Tokens(ctx, rival, polset.TokenFilter{}, polset.Page{Number: 1, Size: 10})
				return err
			},
			"Connections": func(ctx context.Context) error {
				_, _, err := b.Connections(ctx, rival, b.org.Name, polset.Page{Number: 1, Size: 10})
				return err
			},
			"UpdateConnection": func(ctx context.Context) error {
				token := polset.NewSecret("ghp_rival")
				return second(b.UpdateConnection(ctx, rival, b.conn.ID, polset.ConnectionChange{Name: &name, Token: &token}))
			},
			"RevokeToken": func(ctx context.Context) error { return b.RevokeToken(ctx, rival, token.ID) },
			"CreateConnection": func(ctx context.Context) error {
				return second(b.CreateConnection(ctx, rival, polset.ConnectionDraft{Organization: b.org.Name}))
			},
			"Connection":        func(ctx context.Context) error { return second(b.Connection(ctx, rival, b.conn.ID)) },
			"ConnectionByToken": func(ctx context.Context) error { return second(b.ConnectionByToken(ctx, rival, b.conn.TokenID)) },
			"DeleteConnection":  func(ctx context.Context) error { return b.DeleteConnection(ctx, rival, b.conn.ID) },
			"Remote": func(ctx context.Context) error {
				b.want(second(b.Remote(ctx, rival, installed.ID, "a/b")), polset.ErrNotFound)
				return second(b.Remote(ctx, rival, b.conn.TokenID, "a/b"))
			},
			"CreatePolicySet": func(ctx context.Context) error {
				d := polset.PolicySetDraft{Organization: b.org.Name, Name: name, Kind: polset.KindOPA}
				b.want(second(b.CreatePolicySet(ctx, rival, d)), polset.ErrNotFound)
				// Its own organization, but our connection; the site admin
				// must not mix them up either.
				d.Organization = theirs.Name
				d.VCS = &polset.VCSDraft{Identifier: "acme/policies", TokenID: b.conn.TokenID}
				b.want(second(b.CreatePolicySet(ctx, admin, d)), polset.ErrNotFound)
				return second(b.CreatePolicySet(ctx, rival, d))
			},
			"PolicySet": func(ctx context.Context) error { return second(b.PolicySet(ctx, rival, p.ID)) },
			"PolicySets": func(ctx context.Context) error {
				_, _, err := b.PolicySets(ctx, rival, b.org.Name, polset.PolicySetFilter{}, page)
				return err
			},
			"UpdatePolicySet": func(ctx context.Context) error {
				b.want(second(b.UpdatePolicySet(ctx, admin, p.ID, polset.PolicySetChange{
					VCS: &polset.VCSDraft{Identifier: "acme/policies", TokenID: foreign.TokenID},
				})), polset.ErrNotFound)
				return second(b.UpdatePolicySet(ctx, rival, p.ID, polset.PolicySetChange{Name: &name}))
			},
			"AddMembers": func(ctx context.Context) error {
				for _, r := range polset.Relations() {
					b.want(b.AddMembers(ctx, rival, p.ID, r, nil), polset.ErrNotFound)
					b.want(b.AddMembers(ctx, rival, p.ID, r, []string{"ws-0000000000009999"}), polset.ErrNotFound)
				}
				return b.AddMembers(ctx, rival, p.ID, polset.RelationWorkspaces, nil)
			},
			"RemoveMembers": func(ctx context.Context) error {
				return b.RemoveMembers(ctx, rival, p.ID, polset.RelationWorkspaces, nil)
			},
			"AddTagSelectors": func(ctx context.Context) error {
				return b.AddTagSelectors(ctx, rival, p.ID, []polset.TagSelector{{Key: "env"}})
			},
			"RemoveTagSelectors": func(ctx context.Context) error { return b.RemoveTagSelectors(ctx, rival, p.ID, nil) },
			"RotateHookSecret":   func(ctx context.Context) error { return second(b.RotateHookSecret(ctx, rival, p.ID)) },
			"Installation":       func(ctx context.Context) error { return second(b.Installation(ctx, rival, installed.ID)) },
			"Installations": func(ctx context.Context) error {
				list, total, err := b.Installations(ctx, rival, polset.InstallationFilter{}, page)
				b.must(err)
				if total != 0 || len(list) != 0 {
					b.Fatalf("Installations showed %v", list)
				}
				return polset.ErrNotFound
			},
			"BindInstallation": func(ctx context.Context) error {
				b.want(b.BindInstallation(ctx, rival, installed.ID, b.org.Name), polset.ErrNotFound)
				return b.BindInstallation(ctx, rival, installed.ID, theirs.Name)
			},
			"UnbindInstallation": func(ctx context.Context) error {
				return b.UnbindInstallation(ctx, rival, installed.ID, b.org.Name)
			},
			"CreateSetupLink": func(ctx context.Context) error {
				for _, organization := range []string{"", theirs.Name, b.org.Name} {
					_, _, err := b.CreateSetupLink(ctx, rival, polset.SetupApp, organization, time.Hour)
					b.want(err, polset.ErrNotFound)
				}
				_, _, err := b.CreateSetupLink(ctx, rival, polset.SetupInstall, "", time.Hour)
				b.want(err, polset.ErrNotFound)
				_, _, err = b.CreateSetupLink(ctx, rival, polset.SetupInstall, b.org.Name, time.Hour)
				return err
			},
			"DeletePolicySet": func(ctx context.Context) error { return b.DeletePolicySet(ctx, rival, p.ID) },
			"CreatePolicy": func(ctx context.Context) error {
				d := polset.PolicyDraft{Organization: b.org.Name, Name: name, Kind: polset.KindOPA, Query: "data.a", EnforcementLevel: "advisory"}
				b.want(second(b.CreatePolicy(ctx, rival, d)), polset.ErrNotFound)
				// Its own organization, but our policy set.
				d.Organization, d.PolicySetIDs = theirs.Name, []string{p.ID}
				b.want(second(b.CreatePolicy(ctx, admin, d)), polset.ErrNotFound)
				return second(b.CreatePolicy(ctx, rival, d))
			},
			"Policy": func(ctx context.Context) error { return second(b.Policy(ctx, rival, rule.ID)) },
			"Policies": func(ctx context.Context) error {
				_, _, err := b.Policies(ctx, rival, b.org.Name, polset.PolicyFilter{}, page)
				return err
			},
			"PoliciesByID": func(ctx context.Context) error {
				got, err := b.PoliciesByID(ctx, rival, []string{rule.ID})
				b.must(err)
				if len(got) != 0 {
					b.Fatalf("PoliciesByID showed %v", got)
				}
				return polset.ErrNotFound
			},
			"UpdatePolicy": func(ctx context.Context) error {
				return second(b.UpdatePolicy(ctx, rival, rule.ID, polset.PolicyUpdate{Description: &name}))
			},
			"UploadPolicy": func(ctx context.Context) error {
				return second(b.UploadPolicy(ctx, rival, rule.ID, strings.Repeat("0", 64), 1))
			},
			"CreateParameter": func(ctx context.Context) error {
				return second(b.CreateParameter(ctx, rival, p.ID, polset.ParameterDraft{Key: name}))
			},
			"Parameter": func(ctx context.Context) error { return second(b.Parameter(ctx, rival, p.ID, param.ID)) },
			"Parameters": func(ctx context.Context) error {
				_, _, err := b.Parameters(ctx, rival, p.ID, page)
				return err
			},
			"UpdateParameter": func(ctx context.Context) error {
				return second(b.UpdateParameter(ctx, rival, p.ID, param.ID, polset.ParameterChange{Key: &name}))
			},
			"DeleteParameter": func(ctx context.Context) error { return b.DeleteParameter(ctx, rival, p.ID, param.ID) },
			"DeletePolicy":    func(ctx context.Context) error { return b.DeletePolicy(ctx, rival, rule.ID) },
			"Version":         func(ctx context.Context) error { return second(b.Version(ctx, rival, p.CurrentVersionID)) },
			"CreateVersion":   func(ctx context.Context) error { return second(b.CreateVersion(ctx, rival, p.ID)) },
			"ClaimUpload": func(ctx context.Context) error {
				v := b.awaiting(b.uploadable("uploads").ID)
				return second(b.ClaimUpload(ctx, rival, v.ID, time.Minute))
			},
			"VersionsByID": func(ctx context.Context) error {
				got, err := b.VersionsByID(ctx, rival, []string{p.CurrentVersionID})
				b.must(err)
				if len(got) != 0 {
					b.Fatalf("VersionsByID showed %v", got)
				}
				return polset.ErrNotFound
			},
			"Versions": func(ctx context.Context) error {
				_, _, err := b.Versions(ctx, rival, p.ID, polset.VersionFilter{}, page)
				return err
			},
			"Ingestions": func(ctx context.Context) error {
				_, _, err := b.Ingestions(ctx, rival, p.ID, polset.VersionFilter{}, page)
				return err
			},
			"Ingest": func(ctx context.Context) error { return second(b.Ingest(ctx, rival, p.ID, "c1")) },
			"Replay": func(ctx context.Context) error {
				d := delivery(polset.HookGitHubApp)
				b.must(second(b.RecordPush(ctx, d, pushOf("main", "c1"))))
				ignored := delivery(polset.HookGitHubApp)
				b.must(second(b.RecordIgnored(ctx, ignored, "a tag")))
				b.want(second(b.Replay(ctx, rival, ignored.GUID)), polset.ErrNotFound)
				return second(b.Replay(ctx, rival, d.GUID))
			},
			"Organizations": func(ctx context.Context) error {
				list, total, err := b.Organizations(ctx, rival, page)
				b.must(err)
				if total != 1 || len(list) != 1 || list[0].ID != theirs.ID {
					b.Fatalf("Organizations showed %v", list)
				}
				return polset.ErrNotFound
			},
			"AuditTrail": func(ctx context.Context) error {
				list, _, err := b.AuditTrail(ctx, rival, time.Time{}, page)
				b.must(err)
				for _, e := range list {
					if e.Chain != theirs.ID {
						b.Fatalf("AuditTrail showed %+v", e)
					}
				}
				return polset.ErrNotFound
			},
		}
		hiddenWorkspaces(b, rival, theirs, hidden)
		principal := reflect.TypeFor[polset.Principal]()
		methods := reflect.TypeFor[*Store]()
		for n := range methods.NumMethod() {
			m := methods.Method(n)
			takes := false
			for i := range m.Type.NumIn() {
				takes = takes || m.Type.In(i) == principal
			}
			if takes && hidden[m.Name] == nil {
				b.Errorf("%s takes a principal and is not in the table", m.Name)
			}
		}
		for name, call := range hidden {
			if err := call(b.ctx()); !errors.Is(err, polset.ErrNotFound) {
				b.Errorf("%s: got %v, want not found", name, err)
			}
		}
		if got := b.set(p.ID); got.Name != "net" || got.VCS.TokenID != b.conn.TokenID {
			b.Fatalf("the rival changed %+v", got)
		}
		if _, err := b.VersionsByID(b.ctx(), admin, []string{p.CurrentVersionID}); err != nil {
			b.Fatal(err)
		}
	})
}
