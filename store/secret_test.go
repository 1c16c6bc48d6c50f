package store

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
)

func TestSecretsAreNowhereInTheClear(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{})
		_, api, err := b.CreateToken(b.ctx(), admin, polset.Token{Organization: b.org.Name})
		b.must(err)
		hidden, err := b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "password", Value: polset.NewSecret("hunter2-one"), Sensitive: true})
		b.must(err)
		later, err := b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "later", Value: polset.NewSecret("hunter2-two")})
		b.must(err)
		b.must(second(b.UpdateParameter(b.ctx(), admin, p.ID, later.ID, polset.ParameterChange{Sensitive: true})))
		if got := b.parameterValue(b.Store, hidden.ID) + " " + b.parameterValue(b.Store, later.ID); got != "hunter2-one hunter2-two" {
			b.Errorf("parameters hold %q", got)
		}
		secrets := map[string]string{
			"parameter":        "hunter2-one",
			"later parameter":  "hunter2-two",
			"connection token": "ghp_secret_of_acme",
			"hook secret":      p.VCS.HookSecret.Reveal(),
			"API token":        strings.TrimPrefix(api.Reveal(), TokenPrefix),
		}
		all := b.dump()
		if len(all) < 1000 || !strings.Contains(all, "acme/policies") {
			b.Fatalf("the dump is no dump: %q", all)
		}
		for what, secret := range secrets {
			if strings.Contains(all, secret) {
				b.Errorf("the %s is in the clear", what)
			}
		}
		h, err := b.Hook(b.ctx(), p.VCS.HookID)
		b.must(err)
		if len(h.Secrets) != 1 || h.Secrets[0].Reveal() != secrets["hook secret"] {
			b.Fatal("the hook lost its secret")
		}
		if got, err := b.Remote(b.ctx(), admin, b.conn.TokenID, "a/b"); err != nil || got.Token.Reveal() != secrets["connection token"] {
			b.Fatalf("the connection lost its token: %v", err)
		}
		// A sealed secret that is moved to another row does not open there.
		other := b.connection("acme")
		b.exec(`UPDATE connections SET sealed_token = (SELECT sealed_token FROM connections WHERE id = $1) WHERE id = $2`, b.conn.ID, other.ID)
		if _, err := b.Remote(b.ctx(), admin, other.TokenID, "a/b"); err == nil {
			b.Fatal("a transplanted secret opened")
		}
	})
}

// parameterValue opens the sealed value of a parameter.
func (b *bench) parameterValue(s *Store, id string) string {
	b.Helper()
	var sealed []byte
	b.must(b.dialect.reader().QueryRowContext(b.ctx(), "SELECT sealed_value FROM policy_set_parameters WHERE id = $1", id).Scan(&sealed))
	secret, err := s.open(parameterPlace(id), sealed)
	b.must(err)
	return secret.Reveal()
}

// dump returns every column of every row of every table as text.
func (b *bench) dump() string {
	b.Helper()
	tables := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if _, ok := b.dialect.(*postgresDialect); ok {
		tables = `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'`
	}
	var list []string
	b.each(tables, func(values []any) { list = append(list, fmt.Sprintf("%s", values[0])) })
	var out bytes.Buffer
	for _, name := range list {
		b.each("SELECT * FROM "+name, func(values []any) {
			for _, v := range values {
				if text, ok := v.([]byte); ok {
					v = string(text)
				}
				fmt.Fprintf(&out, "%v\n", v)
			}
		})
	}
	return out.String()
}

// each visits the rows of a query.
func (b *bench) each(query string, visit func(values []any)) {
	b.Helper()
	r, err := b.dialect.reader().QueryContext(b.ctx(), query)
	b.must(err)
	defer func() { b.must(r.Close()) }()
	columns, err := r.Columns()
	b.must(err)
	for r.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		b.must(r.Scan(into...))
		visit(values)
	}
	b.must(r.Err())
}

func TestWrongKey(t *testing.T) {
	onBoth(t, func(b *bench) {
		open := func(keys string) (*Store, error) {
			b.Helper()
			c := b.config
			var err error
			c.Key, err = ParseKey(keys)
			b.must(err)
			return Open(b.ctx(), c)
		}
		if _, err := open(NewKey()); err == nil || !strings.Contains(err.Error(), "not the one that sealed") {
			b.Fatalf("another key: %v", err)
		}
		c := b.config
		c.Key = Key{}
		if _, err := Open(b.ctx(), c); err == nil {
			b.Fatal("opened without a key")
		}

		// Rotation: the new key before the old one, then the new one alone.
		p := b.follower("net", "main", polset.Head{})
		hidden, err := b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "password", Value: polset.NewSecret("hunter2"), Sensitive: true})
		b.must(err)
		old, fresh := encoded(b.config.Key), NewKey()
		for _, keys := range []string{fresh + "," + old, fresh} {
			s, err := open(keys)
			b.must(err)
			h, err := s.Hook(b.ctx(), p.VCS.HookID)
			b.must(err)
			r, err := s.Remote(b.ctx(), admin, b.conn.TokenID, "a/b")
			b.must(err)
			if got := b.parameterValue(s, hidden.ID); got != "hunter2" {
				b.Fatalf("rotation made the parameter %q", got)
			}
			if h.Secrets[0].Reveal() != p.VCS.HookSecret.Reveal() || r.Token.Reveal() != "ghp_secret_of_acme" {
				b.Fatal("rotation changed a secret")
			}
			b.must(s.Close())
		}
		if _, err := open(old); err == nil {
			b.Fatal("the old key still opens")
		}
	})
}

// TestRotation rotates the key of two nodes, one after the other.
func TestRotation(t *testing.T) {
	onBoth(t, func(b *bench) {
		old, fresh := encoded(b.config.Key), NewKey()
		node := func(keys string) *bench {
			b.Helper()
			other := *b
			var err error
			other.config.Key, err = ParseKey(keys)
			b.must(err)
			other.Store = other.node()
			return &other
		}
		opens := func(on *bench, tokens ...string) {
			b.Helper()
			for _, token := range tokens {
				r, err := on.Remote(b.ctx(), admin, token, "a/b")
				b.must(err)
				if r.Token.Reveal() != "ghp_secret_of_acme" {
					b.Fatal("rotation changed a secret")
				}
			}
		}
		both := node(old + "," + fresh)
		opens(node(fresh+","+old), b.conn.TokenID)
		opens(both, b.conn.TokenID)

		// A node that still seals with the old key after all was sealed anew.
		late := both.connection("acme")
		p := both.follower("net", "main", polset.Head{})
		opens(node(fresh+","+old), b.conn.TokenID, late.TokenID)
		last := node(fresh)
		opens(last, b.conn.TokenID, late.TokenID)
		h, err := last.Hook(b.ctx(), p.VCS.HookID)
		b.must(err)
		if h.Secrets[0].Reveal() != p.VCS.HookSecret.Reveal() {
			b.Fatal("rotation changed a hook's secret")
		}
		b.verify()
	})
}

// TestSealedForever has a token that no key opens: its own ingestions go
// without it, and nothing else is held up.
func TestSealedForever(t *testing.T) {
	onBoth(t, func(b *bench) {
		lost := b.connection("acme")
		b.follower("net", "main", polset.Head{Branch: "main", Commit: "c0"})
		p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
			Organization: b.org.Name, Name: "lost", Kind: polset.KindOPA,
			VCS: &polset.VCSDraft{
				Identifier: "acme/policies", Branch: "main", TokenID: lost.TokenID, Head: polset.Head{Branch: "main", Commit: "c0"},
			},
		})
		b.must(err)
		b.exec(`UPDATE connections SET sealed_token = $1 WHERE id = $2`, []byte("of another key"), lost.ID)
		core, seen := observer.New(zap.InfoLevel)
		b.config.Logger = zap.New(core)
		b.Store = b.node()
		if seen.FilterMessageSnippet("POLSET_ENCRYPTION_KEY").Len() != 1 {
			b.Fatalf("logged at the start: %v", seen.All())
		}
		batch := b.claim(p.VCS.RepositoryID, "c0")
		if _, ok := batch.Remotes[lost.TokenID]; len(batch.Claims) != 2 || ok || batch.Remotes[b.conn.TokenID].Token.Empty() {
			b.Fatalf("batch %+v", batch)
		}
		if seen.FilterMessageSnippet("connection token cannot be opened").Len() != 1 {
			b.Fatalf("logged: %v", seen.All())
		}
	})
}

func TestKey(t *testing.T) {
	for _, bad := range []string{"", "short", NewKey() + ",", "!" + NewKey()[1:]} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("ParseKey(%q) succeeded", bad)
		}
	}
	first, second := NewKey(), NewKey()
	one, err := ParseKey(first)
	if err != nil {
		t.Fatal(err)
	}
	both, err := ParseKey(first + ", " + second)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Derive("links"), both.Derive("links")) {
		t.Error("a derived key changed before the new key came first")
	}
	if bytes.Equal(one.Derive("links"), one.Derive("else")) || len(one.Derive("links")) != 32 {
		t.Error("purposes share a key")
	}
	if text := fmt.Sprintf("%v %+v %#v %s", one, one, one, one); strings.Contains(text, first) || !strings.Contains(text, "redacted") {
		t.Errorf("a key prints as %s", text)
	}
}

func TestTokens(t *testing.T) {
	onBoth(t, func(b *bench) {
		read := []polset.Permission{polset.PermissionManagePolicies}
		own, secret, err := b.CreateToken(b.ctx(), admin, polset.Token{Organization: b.org.Name, Permissions: read})
		b.must(err)
		p, err := b.Authenticate(b.ctx(), secret.Reveal())
		b.must(err)
		if p.Actor != own.ID || p.OrganizationID != b.org.ID || !p.Can(polset.PermissionManagePolicies) || p.Can(polset.PermissionManageOverrides) {
			b.Fatalf("principal %+v", p)
		}
		_, site, err := b.CreateToken(b.ctx(), admin, polset.Token{})
		b.must(err)
		if p, err := b.Authenticate(b.ctx(), site.Reveal()); err != nil || !p.SiteAdmin() {
			b.Fatalf("site token: %+v, %v", p, err)
		}
		refused := func(what, secret string) {
			b.Helper()
			if _, err := b.Authenticate(b.ctx(), secret); err == nil {
				b.Fatalf("%s authenticates", what)
			} else {
				b.want(err, polset.ErrUnauthorized)
			}
		}
		refused("nothing", "")
		refused("a guess", TokenPrefix+"guess")
		refused("a cut token", secret.Reveal()[:len(secret.Reveal())-1])
		_, expired, err := b.CreateToken(b.ctx(), admin, polset.Token{ExpiresAt: b.At().Add(-time.Second)})
		b.must(err)
		refused("case 82 an expired token", expired.Reveal())
		_, valid, err := b.CreateToken(b.ctx(), admin, polset.Token{ExpiresAt: b.At().Add(time.Hour)})
		b.must(err)
		if _, err := b.Authenticate(b.ctx(), valid.Reveal()); err != nil {
			b.Fatal(err)
		}
		b.must(b.RevokeToken(b.ctx(), admin, own.ID))
		refused("case 82 a revoked token", secret.Reveal())
		b.want(b.RevokeToken(b.ctx(), admin, own.ID), polset.ErrNotFound)
		b.verify()
	})
}

func encoded(k Key) string { return base64.StdEncoding.EncodeToString(k.keys[0][:]) }
