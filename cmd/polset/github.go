package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store"
)

type githubCommands struct {
	Setup         githubSetupCommand         `cmd:"" help:"Print a one-time link to create the GitHub App, or to install it for an organization."`
	Installations githubInstallationsCommand `cmd:"" help:"List the installations of the GitHub App and the organizations that may use them."`
	Bind          githubBindCommand          `cmd:"" help:"Let an organization use an installation."`
	Unbind        githubUnbindCommand        `cmd:"" help:"Take an installation from an organization again."`
}

// setupPath is where a set-up link leads.
const setupPath = "/setup/github?token="

// firstLinkLife is how long the link of the first start is good for: whoever
// installs polset in the evening may go on in the morning.
const firstLinkLife = 24 * time.Hour

type githubSetupCommand struct {
	rows    `embed:""`
	appKeys `embed:""`

	PublicURL    string        `env:"POLSET_PUBLIC_URL" required:"" placeholder:"URL" help:"URL under which clients and GitHub reach polset."`
	Organization string        `placeholder:"NAME" help:"The polset organization that may use the installation."`
	ExpiresIn    time.Duration `default:"1h" placeholder:"DURATION" help:"How long the link is good for (${default})."`
}

// Run prints the link to standard output and everything else to standard error.
func (g *githubSetupCommand) Run(ctx context.Context) error {
	if g.ExpiresIn <= 0 {
		return errors.New("--expires-in must be greater than 0")
	}
	public, err := checkBaseURL("POLSET_PUBLIC_URL", g.PublicURL)
	if err != nil {
		return err
	}
	if err := g.checkApp(); err != nil {
		return err
	}
	return g.withStore(ctx, func(s *store.Store) error {
		purpose, doing := polset.SetupInstall, "install the GitHub App"
		app, err := g.apps(s).App(ctx)
		switch {
		case errors.Is(err, polset.ErrNotFound):
			purpose, doing = polset.SetupApp, "create the GitHub App"
		case err != nil:
			return err
		case app.ClientSecret.Empty():
			return errors.New("a link binds an installation by asking GitHub who the person is, which needs POLSET_GITHUB_APP_CLIENT_ID and POLSET_GITHUB_APP_CLIENT_SECRET; install the App on GitHub and use polset github bind instead")
		}
		link, token, err := s.CreateSetupLink(ctx, commandLine, purpose, g.Organization, g.ExpiresIn)
		if errors.Is(err, polset.ErrNotFound) {
			return fmt.Errorf("organization %q: %w", g.Organization, err)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "open this link in a browser to %s; it works once, until %s:\n",
			doing, link.ExpiresAt.Local().Format(time.RFC1123))
		_, err = fmt.Println(public + setupPath + token.Reveal())
		return err
	})
}

type githubInstallationsCommand struct {
	rows `embed:""`
}

// Run lists one installation a line.
func (g *githubInstallationsCommand) Run(ctx context.Context) error {
	return g.withStore(ctx, func(s *store.Store) error {
		for page := (polset.Page{Number: 1, Size: 100}); ; page.Number++ {
			list, total, err := s.Installations(ctx, commandLine, polset.InstallationFilter{}, page)
			if err != nil {
				return err
			}
			for _, i := range list {
				state := "active"
				if !i.SuspendedAt.IsZero() {
					state = "suspended"
				}
				fmt.Printf("%s  %d  %s  %s  %v\n", i.ID, i.ExternalID, i.Account, state, i.Organizations)
			}
			if page.Number*page.Size >= total {
				return nil
			}
		}
	})
}

// binding is what an installation is bound to, or taken from.
type binding struct {
	rows `embed:""`

	Installation string `arg:"" help:"ghain-…, GitHub's number of the installation, or the account's login."`
	Organization string `arg:"" help:"The polset organization."`
}

type githubBindCommand struct {
	binding `embed:""`
}

// Run binds.
func (g *githubBindCommand) Run(ctx context.Context) error {
	return g.change(ctx, "may use", (*store.Store).BindInstallation)
}

type githubUnbindCommand struct {
	binding `embed:""`
}

// Run unbinds. Policy sets that use the installation stay, degraded.
func (g *githubUnbindCommand) Run(ctx context.Context) error {
	return g.change(ctx, "may no longer use", (*store.Store).UnbindInstallation)
}

func (b *binding) change(ctx context.Context, now string, change func(s *store.Store, ctx context.Context, by polset.Principal, id, organization string) error) error {
	return b.withStore(ctx, func(s *store.Store) error {
		i, err := b.find(ctx, s)
		if err != nil {
			return err
		}
		if err := change(s, ctx, commandLine, i.ID, b.Organization); err != nil {
			return fmt.Errorf("organization %q: %w", b.Organization, err)
		}
		_, err = fmt.Fprintf(os.Stderr, "organization %s %s the installation %d on %s\n", b.Organization, now, i.ExternalID, i.Account)
		return err
	})
}

// find takes whichever name of the installation a person has at hand.
func (b *binding) find(ctx context.Context, s *store.Store) (polset.Installation, error) {
	i, err := s.Installation(ctx, commandLine, b.Installation)
	if !errors.Is(err, polset.ErrNotFound) {
		return i, err
	}
	// The number first: a login may look like one, and anybody may choose a login.
	var filters []polset.InstallationFilter
	if n, err := strconv.ParseInt(b.Installation, 10, 64); err == nil && n > 0 {
		filters = append(filters, polset.InstallationFilter{ExternalID: n})
	}
	filters = append(filters, polset.InstallationFilter{Account: b.Installation})
	for _, f := range filters {
		list, _, err := s.Installations(ctx, commandLine, f, polset.Page{Number: 1, Size: 1})
		if err != nil {
			return polset.Installation{}, err
		}
		if len(list) == 1 {
			return list[0], nil
		}
	}
	return polset.Installation{}, fmt.Errorf("installation %q: %w", b.Installation, polset.ErrNotFound)
}
