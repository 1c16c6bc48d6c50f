package store

import (
	"errors"
	"testing"
	"time"

	"github.com/polset/polset"
)

func TestAuditTamper(t *testing.T) {
	cases := []struct {
		name     string
		sql      []string
		sequence int64 // -1: the one after the last; 0: the last
	}{
		{"details changed", []string{`UPDATE audit_entries SET details = '{}' WHERE chain = $1 AND sequence = 3`}, 3},
		{"actor changed", []string{`UPDATE audit_entries SET actor = 'nobody' WHERE chain = $1 AND sequence = 2`}, 2},
		{"time changed", []string{`UPDATE audit_entries SET at = '2020-01-01T00:00:00.000000Z' WHERE chain = $1 AND sequence = 4`}, 4},
		{"time is none", []string{`UPDATE audit_entries SET at = 'yesterday' WHERE chain = $1 AND sequence = 4`}, 4},
		{"row deleted", []string{`DELETE FROM audit_entries WHERE chain = $1 AND sequence = 3`}, 3},
		{"first row deleted", []string{`DELETE FROM audit_entries WHERE chain = $1 AND sequence = 1`}, 1},
		{"gap closed", []string{
			`DELETE FROM audit_entries WHERE chain = $1 AND sequence = 3`,
			`UPDATE audit_entries SET sequence = 3 WHERE chain = $1 AND sequence = 4`,
		}, 3},
		{"row inserted at the end", []string{
			`INSERT INTO audit_entries (chain, sequence, at, actor, action, subject, details, previous, hash)
			 SELECT chain, sequence + 1, at, actor, action, subject, details, hash, 'x' FROM audit_entries
			 WHERE chain = $1 AND sequence = (SELECT max(sequence) FROM audit_entries WHERE chain = $1)`,
		}, -1},
		{"rows swapped", []string{
			`UPDATE audit_entries SET sequence = 99 WHERE chain = $1 AND sequence = 2`,
			`UPDATE audit_entries SET sequence = 2 WHERE chain = $1 AND sequence = 3`,
			`UPDATE audit_entries SET sequence = 3 WHERE chain = $1 AND sequence = 99`,
		}, 2},
		{"truncated", []string{`DELETE FROM audit_entries WHERE chain = $1 AND sequence >= 4`}, 4},
		{"emptied", []string{`DELETE FROM audit_entries WHERE chain = $1`}, 1},
		{"head removed", []string{`DELETE FROM audit_chains WHERE chain = $1`}, 1},
		{"head changed", []string{`UPDATE audit_chains SET hash = 'x' WHERE chain = $1`}, 0},
	}
	onBoth(t, func(b *bench) {
		b.settled("net", "main", "c0")
		heads, err := b.VerifyAudit(b.ctx(), nil)
		b.must(err)
		var last int64
		for _, h := range heads {
			if h.Chain == b.org.ID {
				last = h.Sequence
			}
		}
		b.exec("CREATE TABLE kept_entries AS SELECT * FROM audit_entries")
		b.exec("CREATE TABLE kept_chains AS SELECT * FROM audit_chains")
		for _, c := range cases {
			b.sub(c.name, func(b *bench) {
				for _, statement := range c.sql {
					b.exec(statement, b.org.ID)
				}
				var broken *BrokenChain
				_, err = b.VerifyAudit(b.ctx(), nil)
				if !errors.As(err, &broken) {
					b.Fatalf("got %v, want a broken chain", err)
				}
				want := c.sequence
				switch want {
				case -1:
					want = last + 1
				case 0:
					want = last
				}
				if broken.Chain != b.org.ID || broken.Sequence != want {
					b.Fatalf("got %v, want row %d", err, want)
				}
			})
			for _, table := range []string{"entries", "chains"} {
				b.exec("DELETE FROM audit_" + table)
				b.exec("INSERT INTO audit_" + table + " SELECT * FROM kept_" + table)
			}
			b.verify()
		}
	})
}

// TestAuditForged forges rows by somebody who knows how hashes are made.
func TestAuditForged(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.settled("net", "main", "c0")
		own := polset.Principal{OrganizationID: b.org.ID}
		list, total, err := b.AuditTrail(b.ctx(), own, time.Time{}, polset.Page{Number: 1, Size: 1000})
		b.must(err)
		broken := func(sequence int) {
			b.Helper()
			var broken *BrokenChain
			if _, err := b.VerifyAudit(b.ctx(), nil); !errors.As(err, &broken) || broken.Sequence != int64(sequence) {
				b.Fatalf("got %v, want row %d", err, sequence)
			}
		}

		// A row with a hash of its own does not lead to the next.
		e := list[total-3]
		e.Actor = "nobody"
		b.exec(`UPDATE audit_entries SET actor = $1, hash = $2 WHERE chain = $3 AND sequence = 3`, e.Actor, e.ComputeHash(), e.Chain)
		broken(4)
		b.exec(`UPDATE audit_entries SET actor = $1, hash = $2 WHERE chain = $3 AND sequence = 3`, list[total-3].Actor, e.Hash, e.Chain)
		b.verify()

		// A row that continues the chain, beyond its head.
		e = list[0]
		e.Sequence, e.Previous = e.Sequence+1, e.Hash
		b.exec(`INSERT INTO audit_entries (chain, sequence, at, actor, action, subject, details, previous, hash)
			SELECT chain, $1, at, actor, action, subject, details, $2, $3 FROM audit_entries WHERE chain = $4 AND sequence = $5`,
			e.Sequence, e.Previous, e.ComputeHash(), e.Chain, list[0].Sequence)
		broken(total + 1)
		b.exec(`DELETE FROM audit_entries WHERE chain = $1 AND sequence = $2`, e.Chain, e.Sequence)

		// A chain without a tail, and a head to match: only the hash that was
		// kept elsewhere tells.
		heads, err := b.VerifyAudit(b.ctx(), nil)
		b.must(err)
		site := heads[len(heads)-1]
		b.organization("late")
		later, err := b.VerifyAudit(b.ctx(), map[string]string{site.Chain: site.Hash})
		b.must(err)
		b.exec(`DELETE FROM audit_entries WHERE chain = $1 AND sequence > $2`, site.Chain, site.Sequence)
		b.exec(`UPDATE audit_chains SET sequence = $1, hash = $2 WHERE chain = $3`, site.Sequence, site.Hash, site.Chain)
		b.verify()
		var gone *BrokenChain
		_, err = b.VerifyAudit(b.ctx(), map[string]string{site.Chain: later[len(later)-1].Hash})
		if !errors.As(err, &gone) || gone.Chain != polset.ChainSite {
			b.Fatalf("a cut tail: %v", err)
		}
	})
}

func TestAuditRewritten(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		heads, err := b.VerifyAudit(b.ctx(), nil)
		b.must(err)
		kept := map[string]string{}
		for _, h := range heads {
			kept[h.Chain] = h.Hash
		}
		b.push("main", "c1")
		if _, err := b.VerifyAudit(b.ctx(), kept); err != nil {
			b.Fatalf("a chain that grew: %v", err)
		}
		var broken *BrokenChain

		// Rows behind the trail's back.
		b.exec(`UPDATE versions SET digest = 'forged' WHERE status = 'ready'`)
		if _, err := b.VerifyAudit(b.ctx(), nil); !errors.As(err, &broken) {
			b.Fatalf("a forged digest: %v", err)
		}
		b.exec(`UPDATE versions SET digest = $1 WHERE status = 'ready'`, artifactOf("c0").Digest)
		b.exec(`UPDATE policy_sets SET current_version_id = 'polsetver-other' WHERE id = $1`, p.ID)
		if _, err := b.VerifyAudit(b.ctx(), nil); !errors.As(err, &broken) {
			b.Fatalf("a forged current version: %v", err)
		}
		b.exec(`UPDATE policy_sets SET current_version_id = $1 WHERE id = $2`, p.CurrentVersionID, p.ID)
		b.verify()

		// A tail cut off together with the head holds by itself; only the
		// hash that was kept elsewhere tells.
		b.exec(`DELETE FROM audit_entries WHERE chain = $1 AND sequence > 1`, b.org.ID)
		b.exec(`UPDATE audit_chains SET sequence = 1, hash = (SELECT hash FROM audit_entries WHERE chain = $1) WHERE chain = $1`, b.org.ID)
		if _, err := b.VerifyAudit(b.ctx(), kept); !errors.As(err, &broken) || broken.Chain != b.org.ID {
			b.Fatalf("a cut tail: %v", err)
		}
		b.exec(`DELETE FROM audit_entries WHERE chain = $1`, b.org.ID)
		b.exec(`DELETE FROM audit_chains WHERE chain = $1`, b.org.ID)
		if _, err := b.VerifyAudit(b.ctx(), kept); !errors.As(err, &broken) || broken.Chain != b.org.ID {
			b.Fatalf("a missing chain: %v", err)
		}
	})
}

// TestAuditRowsGone takes away the rows that entries tell of.
func TestAuditRowsGone(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.push("main", "c1")
		b.carry(p.VCS.RepositoryID, "c1", "c1")
		b.settled("two", "main", "c1")
		broken := func(what, action, details string) {
			b.Helper()
			want := b.count(`SELECT max(sequence) FROM audit_entries WHERE action = $1 AND details LIKE $2`, action, details)
			var broken *BrokenChain
			_, err := b.VerifyAudit(b.ctx(), nil)
			if !errors.As(err, &broken) || broken.Chain != b.org.ID || broken.Sequence != int64(want) {
				b.Fatalf("%s: got %v, want row %d", what, err, want)
			}
		}
		current := b.set(p.ID).CurrentVersionID
		b.exec(`UPDATE policy_sets SET current_version_id = '' WHERE id = $1`, p.ID)
		broken("nothing in force", "policy-set.current", "%"+current+"%")
		b.exec(`UPDATE policy_sets SET current_version_id = $1 WHERE id = $2`, current, p.ID)
		b.verify()

		b.exec(`DELETE FROM versions WHERE id = $1`, p.CurrentVersionID) // of c0
		broken("a version deleted", "version.ready", `%"commit":"c0"%`)

		// What was deleted by a call that the trail tells of is missed by nobody.
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		b.verify()
		b.exec(`DELETE FROM policy_sets`)
		broken("a policy set deleted", "version.ready", "%")
		b.must(b.DeleteOrganization(b.ctx(), admin, b.org.Name))
		b.verify()
	})
}

func TestAuditTrail(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.push("main", "c1")
		own := polset.Principal{Actor: "at-x", OrganizationID: b.org.ID}
		all, total, err := b.AuditTrail(b.ctx(), own, time.Time{}, polset.Page{Number: 1, Size: 1000})
		b.must(err)
		if len(all) != total || total < 8 {
			b.Fatalf("%d of %d", len(all), total)
		}
		for n, e := range all {
			if e.Chain != b.org.ID || e.Sequence != int64(total-n) || e.ComputeHash() != e.Hash {
				b.Fatalf("entry %d: %+v", n, e)
			}
		}
		var move *polset.AuditEntry
		for n := range all {
			if all[n].Action == "policy-set.current" {
				move = &all[n]
			}
		}
		if move == nil || move.Subject != p.ID || move.Details["commit"] != "c0" || move.Details["digest"] == "" || move.Details["tree"] == "" {
			b.Fatalf("move %+v", move)
		}
		page, _, err := b.AuditTrail(b.ctx(), own, all[2].At, polset.Page{Number: 1, Size: 2})
		b.must(err)
		if len(page) != 2 || page[0].Hash != all[0].Hash {
			b.Fatalf("page %+v", page)
		}
		_, none, err := b.AuditTrail(b.ctx(), own, b.At().Add(time.Hour), polset.Page{Number: 1, Size: 2})
		b.must(err)
		_, every, err := b.AuditTrail(b.ctx(), admin, time.Time{}, polset.Page{Number: 1, Size: 2})
		b.must(err)
		if none != 0 || every <= total {
			b.Fatalf("%d in the future, %d in all", none, every)
		}

		// The chain survives its organization.
		b.must(b.DeleteOrganization(b.ctx(), admin, b.org.Name))
		for _, table := range []string{"policy_sets", "versions", "ingestions", "repositories", "branches", "connections"} {
			if n := b.count("SELECT count(*) FROM " + table); n != 0 {
				b.Errorf("%d rows left in %s", n, table)
			}
		}
		_, after, err := b.AuditTrail(b.ctx(), own, time.Time{}, polset.Page{Number: 1, Size: 2})
		b.must(err)
		if after != total+1 {
			b.Fatalf("%d entries after deletion, want %d", after, total+1)
		}
		b.verify()
	})
}
