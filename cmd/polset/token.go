package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store"
)

type tokenCommands struct {
	Create tokenCreateCommand `cmd:"" help:"Create an API token and print its secret, once."`
	Revoke tokenRevokeCommand `cmd:"" help:"Revoke an API token by its id."`
}

type tokenCreateCommand struct {
	rows `embed:""`

	Organization string        `placeholder:"NAME" help:"The organization that the token is for."`
	SiteAdmin    bool          `help:"Make a site-admin token, which may do everything."`
	Permission   []string      `enum:"read,manage-policies,manage-policy-overrides" default:"read" help:"What the token may do: read, manage-policies, manage-policy-overrides (${default})."`
	Description  string        `placeholder:"TEXT" help:"What the token is for."`
	ExpiresIn    time.Duration `placeholder:"DURATION" help:"How long the token is valid, such as 720h. Default: for ever."`
}

// Run prints the secret to standard output and everything else to standard error.
func (t *tokenCreateCommand) Run(ctx context.Context) error {
	if (t.Organization == "") == !t.SiteAdmin {
		return errors.New("give --organization, or --site-admin")
	}
	if t.ExpiresIn < 0 {
		return errors.New("--expires-in must not be negative")
	}
	return t.withStore(ctx, func(s *store.Store) error { return t.create(ctx, s) })
}

func (t *tokenCreateCommand) create(ctx context.Context, s *store.Store) error {
	token := polset.Token{Description: t.Description}
	if t.Organization != "" {
		org, err := s.Organization(ctx, commandLine, t.Organization)
		if err != nil {
			return fmt.Errorf("organization %q: %w", t.Organization, err)
		}
		token.OrganizationID, token.Organization = org.ID, org.Name
		for _, p := range t.Permission {
			token.Permissions = append(token.Permissions, polset.Permission(p))
		}
	}
	if t.ExpiresIn > 0 {
		token.ExpiresAt = time.Now().Add(t.ExpiresIn)
	}
	token, secret, err := s.CreateToken(ctx, commandLine, token)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "token %s created; its secret is not shown again:\n", token.ID)
	_, err = fmt.Println(secret.Reveal())
	return err
}

type tokenRevokeCommand struct {
	rows `embed:""`

	ID string `arg:"" name:"id" help:"The token's id, at-…"`
}

// Run revokes the token on all nodes at once.
func (t *tokenRevokeCommand) Run(ctx context.Context) error {
	return t.withStore(ctx, func(s *store.Store) error {
		if err := s.RevokeToken(ctx, commandLine, t.ID); err != nil {
			return fmt.Errorf("token %q: %w", t.ID, err)
		}
		_, err := fmt.Fprintf(os.Stderr, "token %s revoked\n", t.ID)
		return err
	})
}

// commandLine is whoever may run polset beside its data.
var commandLine = polset.Principal{Actor: "cli"}

// withStore opens the rows for one piece of work, a server running or not.
func (r rows) withStore(ctx context.Context, work func(*store.Store) error) (err error) {
	log, err := r.logger()
	if err != nil {
		return err
	}
	s, _, err := r.openStore(ctx, log, store.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return work(s)
}
