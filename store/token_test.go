package store

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/polset/polset"
)

func TestTokenRecords(t *testing.T) {
	onBoth(t, func(b *bench) {
		other := b.organization("evilcorp")
		first, _, err := b.CreateToken(b.ctx(), admin, polset.Token{Organization: "acme", Description: "first", Permissions: []polset.Permission{polset.PermissionManagePolicies}})
		b.must(err)
		site, _, err := b.CreateToken(b.ctx(), admin, polset.Token{Description: "site", ExpiresAt: time.Now().Add(time.Hour)})
		b.must(err)
		theirs, _, err := b.CreateToken(b.ctx(), admin, polset.Token{OrganizationID: other.ID})
		b.must(err)
		list := func(f polset.TokenFilter) (ids []string) {
			b.Helper()
			tokens, total, err := b.Tokens(b.ctx(), admin, f, polset.Page{Number: 1, Size: 10})
			b.must(err)
			if total != len(tokens) {
				b.Errorf("%d tokens, and a count of %d", len(tokens), total)
			}
			for _, k := range tokens {
				ids = append(ids, k.ID)
			}
			return ids
		}
		same := func(got []string, want ...string) {
			b.Helper()
			slices.Sort(got) // SQLite's clock may not tell who was first
			slices.Sort(want)
			if !slices.Equal(got, want) {
				b.Fatalf("got %v, want %v", got, want)
			}
		}
		same(list(polset.TokenFilter{}), first.ID, site.ID, theirs.ID)
		same(list(polset.TokenFilter{SiteAdmin: true}), site.ID)
		same(list(polset.TokenFilter{Organization: "acme"}), first.ID)
		_, _, err = b.Tokens(b.ctx(), admin, polset.TokenFilter{Organization: "nobody"}, polset.Page{Number: 1, Size: 10})
		b.want(err, polset.ErrNotFound)

		got, err := b.Token(b.ctx(), admin, first.ID)
		b.must(err)
		if got.Organization != "acme" || got.OrganizationID != b.org.ID || got.Description != "first" || !got.CreatedAt.Equal(first.CreatedAt) ||
			!got.ExpiresAt.IsZero() || !got.LastUsedAt.IsZero() || len(got.Effective()) != 3 { // reading, and creating runs, are implied
			b.Errorf("token %+v", got)
		}
		holder := polset.Principal{Actor: theirs.ID, OrganizationID: other.ID, Permissions: polset.Permissions()}
		if _, err := b.Token(b.ctx(), holder, theirs.ID); err != nil {
			b.Errorf("a token does not find itself: %v", err)
		}
		b.want(second(b.Token(b.ctx(), holder, first.ID)), polset.ErrNotFound)
		b.want(second(b.Token(b.ctx(), holder, site.ID)), polset.ErrNotFound)
		_, _, err = b.Tokens(b.ctx(), holder, polset.TokenFilter{}, polset.Page{Number: 1, Size: 10})
		b.want(err, polset.ErrNotFound)

		b.must(b.RevokeToken(b.ctx(), admin, first.ID))
		b.want(second(b.Token(b.ctx(), admin, first.ID)), polset.ErrNotFound)
		b.want(b.RevokeToken(b.ctx(), admin, first.ID), polset.ErrNotFound)
		same(list(polset.TokenFilter{Organization: "acme"}))
		b.verify()
	})
}

func TestTokenUse(t *testing.T) {
	onBoth(t, func(b *bench) {
		k, secret, err := b.CreateToken(b.ctx(), admin, polset.Token{Organization: "acme"})
		b.must(err)
		idle, _, err := b.CreateToken(b.ctx(), admin, polset.Token{Organization: "acme"})
		b.must(err)
		used := func(s *Store, id string) time.Time {
			b.Helper()
			k, err := s.Token(b.ctx(), admin, id)
			b.must(err)
			return k.LastUsedAt
		}
		before := time.Now().Truncate(time.Minute)
		_, err = b.Authenticate(b.ctx(), secret.Reveal())
		b.must(err)
		if _, err := b.Authenticate(b.ctx(), secret.Reveal()+"x"); err == nil {
			b.Fatal("a wrong secret passed")
		}
		if !used(b.Store, k.ID).IsZero() {
			b.Error("a request wrote a row")
		}
		b.must(b.RecordTokenUse(b.ctx()))
		at := used(b.Store, k.ID)
		if at.Before(before) || at.After(time.Now()) || at.Second() != 0 || at.Nanosecond() != 0 {
			b.Errorf("last used at %s", at)
		}
		if !used(b.Store, idle.ID).IsZero() {
			b.Error("a token that nobody used was used")
		}

		// In the same minute there is nothing to write; an older time never wins.
		b.uses.note(k.ID, at.Add(30*time.Second))
		b.uses.note(k.ID, at.Add(-time.Hour))
		if len(b.uses.take()) != 0 {
			b.Error("the same minute would be written twice")
		}
		other := b.node()
		other.uses.note(k.ID, at.Add(-time.Hour)) // a slow node
		b.must(other.RecordTokenUse(b.ctx()))
		if got := used(b.Store, k.ID); !got.Equal(at) {
			b.Errorf("last used at %s after an older time", got)
		}

		// What could not be written waits for the next time.
		gone, cancel := context.WithCancel(b.ctx())
		cancel()
		b.uses.note(k.ID, at.Add(time.Minute))
		if err := b.RecordTokenUse(gone); err == nil {
			b.Error("wrote without a context")
		}
		b.must(b.RecordTokenUse(b.ctx()))
		if got := used(b.Store, k.ID); !got.Equal(at.Add(time.Minute)) {
			b.Errorf("last used at %s, and a failure lost a minute", got)
		}

		// A clean stop loses nothing, and a token that is gone is no error.
		last, err := Open(b.ctx(), b.config)
		b.must(err)
		last.uses.note(k.ID, at.Add(2*time.Minute))
		last.uses.note("at-gone", at)
		b.must(last.Close())
		if got := used(b.Store, k.ID); !got.Equal(at.Add(2 * time.Minute)) {
			b.Errorf("last used at %s after a clean stop", got)
		}
		b.verify()
	})
}
