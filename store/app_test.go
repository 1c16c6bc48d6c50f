package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

func appOf(id int64) polset.App {
	return polset.App{
		ID: id, ClientID: "Iv1.x", Slug: "polset-acme", Name: "polset acme", Owner: "acme", HTMLURL: host + "/apps/polset-acme", HTTPURL: host,
		PrivateKey: polset.NewSecret("PEM of the App"), WebhookSecret: polset.NewSecret("webhook secret of the App"),
		ClientSecret: polset.NewSecret("client secret of the App"),
	}
}

func TestSaveApp(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.want(second(b.App(b.ctx())), polset.ErrNotFound)
		b.want(second(b.Hook(b.ctx(), polset.HookGitHubApp)), polset.ErrNotFound)
		_, token, err := b.CreateSetupLink(b.ctx(), admin, polset.SetupApp, b.org.Name, time.Hour)
		b.must(err)
		_, spare, err := b.CreateSetupLink(b.ctx(), admin, polset.SetupApp, "", time.Hour)
		b.must(err)

		install, err := b.SaveApp(b.ctx(), token, appOf(7))
		b.must(err)
		got, err := b.App(b.ctx())
		b.must(err)
		want := appOf(7)
		if got.PrivateKey.Reveal() != want.PrivateKey.Reveal() || got.WebhookSecret.Reveal() != want.WebhookSecret.Reveal() ||
			got.ClientSecret.Reveal() != want.ClientSecret.Reveal() || got.ID != 7 || got.Slug != want.Slug || got.HTTPURL != host ||
			got.ClientID != want.ClientID || got.Owner != "acme" || got.CreatedAt.IsZero() {
			b.Fatalf("got %+v", got)
		}
		h, err := b.Hook(b.ctx(), polset.HookGitHubApp)
		b.must(err)
		if h.ID != polset.HookGitHubApp || len(h.Secrets) != 1 || h.Secrets[0].Reveal() != "webhook secret of the App" {
			b.Fatalf("hook %+v", h)
		}
		link, err := b.SetupLink(b.ctx(), install)
		b.must(err)
		if link.Purpose != polset.SetupInstall || link.OrganizationID != b.org.ID || link.Organization != b.org.Name ||
			link.ExpiresAt.Sub(b.At()) < 59*time.Minute {
			b.Fatalf("install link %+v", link)
		}

		// Once, and all or nothing.
		b.want(second(b.SaveApp(b.ctx(), token, appOf(8))), polset.ErrUnauthorized)
		b.want(second(b.SetupLink(b.ctx(), token)), polset.ErrUnauthorized)
		b.want(b.ChooseOrganization(b.ctx(), token, b.org.Name), polset.ErrUnauthorized)
		links := b.count("SELECT count(*) FROM setup_links")
		b.want(second(b.SaveApp(b.ctx(), spare, appOf(8))), polset.ErrConflict)
		if b.count("SELECT count(*) FROM setup_links") != links {
			b.Fatal("a link came of an App that was not saved")
		}
		if _, err := b.SetupLink(b.ctx(), spare); err != nil {
			b.Fatalf("a link was used up for an App that was not saved: %v", err)
		}
		_, _, err = b.CreateSetupLink(b.ctx(), admin, polset.SetupApp, "", time.Hour)
		b.want(err, polset.ErrConflict)

		all := b.dump()
		for _, secret := range []string{"PEM of the App", "webhook secret of the App", "client secret of the App", token.Reveal(), install.Reveal()} {
			if strings.Contains(all, secret) {
				b.Errorf("%q is in the clear", secret)
			}
		}
		b.exec("UPDATE github_app SET sealed_client_secret = sealed_private_key")
		if _, err := b.App(b.ctx()); err == nil {
			b.Error("a secret opened in the place of another")
		}
		b.verify()
	})
}

func TestAppWithoutWebhookSecretHasNoHook(t *testing.T) {
	onBoth(t, func(b *bench) {
		_, token, err := b.CreateSetupLink(b.ctx(), admin, polset.SetupApp, "", time.Hour)
		b.must(err)
		a := appOf(7)
		a.WebhookSecret = polset.Secret{}
		b.must(second(b.SaveApp(b.ctx(), token, a)))
		b.want(second(b.Hook(b.ctx(), polset.HookGitHubApp)), polset.ErrNotFound)
	})
}

func TestRotationOfTheApp(t *testing.T) {
	onBoth(t, func(b *bench) {
		_, token, err := b.CreateSetupLink(b.ctx(), admin, polset.SetupApp, "", time.Hour)
		b.must(err)
		b.must(second(b.SaveApp(b.ctx(), token, appOf(7))))
		old, fresh := encoded(b.config.Key), NewKey()
		for _, keys := range []string{fresh + "," + old, fresh} {
			b.config.Key, err = ParseKey(keys)
			b.must(err)
			got, err := b.node().App(b.ctx())
			b.must(err)
			if got.PrivateKey.Reveal() != "PEM of the App" || got.WebhookSecret.Reveal() != "webhook secret of the App" ||
				got.ClientSecret.Reveal() != "client secret of the App" {
				b.Fatal("rotation changed a secret")
			}
		}
		b.verify()
	})
}

func TestSetupLinks(t *testing.T) {
	onBoth(t, func(b *bench) {
		first, err := b.FirstSetupLink(b.ctx(), time.Hour)
		b.must(err)
		b.want(second(b.FirstSetupLink(b.ctx(), time.Hour)), polset.ErrConflict)
		link, err := b.SetupLink(b.ctx(), first)
		b.must(err)
		if link.Purpose != polset.SetupApp || link.OrganizationID != "" {
			b.Fatalf("first link %+v", link)
		}
		if _, err := b.Authenticate(b.ctx(), first.Reveal()); err == nil {
			b.Fatal("a set-up link is an API token")
		}

		b.want(b.ChooseOrganization(b.ctx(), first, "nobody"), polset.ErrNotFound)
		b.must(b.ChooseOrganization(b.ctx(), first, b.org.Name))
		b.must(b.ChooseOrganization(b.ctx(), first, b.org.Name))
		b.organization("rivals")
		b.want(b.ChooseOrganization(b.ctx(), first, "rivals"), polset.ErrNotFound)
		if link, err := b.SetupLink(b.ctx(), first); err != nil || link.OrganizationID != b.org.ID || link.Organization != b.org.Name {
			b.Fatalf("link %+v, %v", link, err)
		}

		manager := polset.Principal{Actor: "at-own", OrganizationID: b.org.ID, Permissions: polset.Permissions()}
		_, install, err := b.CreateSetupLink(b.ctx(), manager, polset.SetupInstall, b.org.Name, time.Hour)
		b.must(err)
		b.want(b.ChooseOrganization(b.ctx(), install, b.org.Name), polset.ErrUnauthorized)
		b.want(second(b.SaveApp(b.ctx(), install, appOf(7))), polset.ErrUnauthorized)

		_, expired, err := b.CreateSetupLink(b.ctx(), admin, polset.SetupApp, "", -time.Second)
		b.must(err)
		for _, token := range []polset.Secret{
			expired,
			{},
			polset.NewSecret("guess"), polset.NewSecret(SetupPrefix + "guess"), polset.NewSecret(first.Reveal()[:20]),
			polset.NewSecret(link.ID),
		} {
			b.want(second(b.SetupLink(b.ctx(), token)), polset.ErrUnauthorized)
			b.want(second(b.SaveApp(b.ctx(), token, appOf(7))), polset.ErrUnauthorized)
			b.want(b.ChooseOrganization(b.ctx(), token, b.org.Name), polset.ErrUnauthorized)
			b.want(second(b.BindByLink(b.ctx(), token, 51, 9, "mona")), polset.ErrUnauthorized)
		}
		b.verify()
	})
}

func TestFirstSetupLinkOfSeveralNodes(t *testing.T) {
	onBoth(t, func(b *bench) {
		if _, shared := b.dialect.(*postgresDialect); !shared {
			return // one writer at a time
		}
		// All of them wait for each other at the latest when they write.
		hold, err := b.dialect.writer().BeginTx(b.ctx(), nil)
		b.must(err)
		_, err = hold.ExecContext(b.ctx(), "UPDATE audit_chains SET sequence = sequence WHERE chain = 'site'")
		b.must(err)
		nodes := []*Store{b.Store, b.node()}
		made := make(chan error, len(nodes))
		for _, s := range nodes {
			go func() { made <- second(s.FirstSetupLink(b.ctx(), time.Hour)) }()
		}
		eventually(b, func(context.Context) bool {
			return b.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == len(nodes)
		})
		b.must(hold.Commit())
		links := 0
		for range cap(made) {
			if err := <-made; err == nil {
				links++
			} else {
				b.want(err, polset.ErrConflict)
			}
		}
		if links != 1 {
			b.Fatalf("%d first links", links)
		}
	})
}
