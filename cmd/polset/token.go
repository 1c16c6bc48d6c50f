package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store"
)

type tokenCommands struct {
	Create tokenCreateCommand `cmd:"" help:"Create an API token and print its secret, once."`
	List   tokenListCommand   `cmd:"" help:"List API tokens that are not revoked, and when they were used last."`
	Revoke tokenRevokeCommand `cmd:"" help:"Revoke an API token by its id."`
}

type tokenCreateCommand struct {
	rows `embed:""`

	Organization string        `placeholder:"NAME" help:"The organization that the token is for."`
	SiteAdmin    bool          `help:"Make a site-admin token, which may do everything."`
	Permission   []string      `enum:"read,create-runs,manage-policies,manage-policy-overrides" default:"read" help:"What the token may do: read, create-runs (have plans checked), manage-policies, manage-policy-overrides (${default})."`
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

type tokenListCommand struct {
	rows `embed:""`

	Organization string `placeholder:"NAME" xor:"whose" help:"Only the tokens of an organization."`
	SiteAdmin    bool   `xor:"whose" help:"Only site-admin tokens."`
	JSON         bool   `name:"json" help:"Print a JSON array."`
}

// tokenLine is a token as the command lists it.
type tokenLine struct {
	ID           string              `json:"id"`
	Organization *string             `json:"organization"` // null: a site-admin token
	Description  string              `json:"description"`
	Permissions  []polset.Permission `json:"permissions"`
	CreatedAt    time.Time           `json:"created-at"`
	LastUsedAt   *time.Time          `json:"last-used-at"`
	ExpiredAt    *time.Time          `json:"expired-at"`
}

// Run lists one token a line, the oldest first.
func (t *tokenListCommand) Run(ctx context.Context) error {
	return t.withStore(ctx, func(s *store.Store) error {
		lines, err := t.lines(ctx, s)
		if err != nil {
			return err
		}
		if t.JSON {
			out := json.NewEncoder(os.Stdout)
			out.SetIndent("", "  ")
			return out.Encode(lines)
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tORGANIZATION\tPERMISSIONS\tCREATED\tLAST USED\tEXPIRES\tDESCRIPTION") //nolint:errcheck // Flush tells
		for _, l := range lines {
			organization, names := "(site admin)", make([]string, len(l.Permissions))
			if l.Organization != nil {
				organization = *l.Organization
			}
			for i, p := range l.Permissions {
				names[i] = string(p)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, organization, strings.Join(names, ","), //nolint:errcheck // Flush tells
				minute(&l.CreatedAt), minute(l.LastUsedAt), minute(l.ExpiredAt), strconv.Quote(l.Description))
		}
		return table.Flush()
	})
}

func (t *tokenListCommand) lines(ctx context.Context, s *store.Store) ([]tokenLine, error) {
	lines := []tokenLine{}
	filter := polset.TokenFilter{Organization: t.Organization, SiteAdmin: t.SiteAdmin}
	for page := (polset.Page{Number: 1, Size: 100}); ; page.Number++ {
		list, total, err := s.Tokens(ctx, commandLine, filter, page)
		if errors.Is(err, polset.ErrNotFound) {
			return nil, fmt.Errorf("organization %q: %w", t.Organization, err)
		}
		if err != nil {
			return nil, err
		}
		for _, k := range list {
			l := tokenLine{ID: k.ID, Description: k.Description, Permissions: k.Effective(), CreatedAt: k.CreatedAt}
			if k.OrganizationID != "" {
				l.Organization = &k.Organization
			}
			if !k.LastUsedAt.IsZero() {
				l.LastUsedAt = &k.LastUsedAt
			}
			if !k.ExpiresAt.IsZero() {
				l.ExpiredAt = &k.ExpiresAt
			}
			lines = append(lines, l)
		}
		if page.Number*page.Size >= total {
			return lines, nil
		}
	}
}

// minute is a time as a table shows it.
func minute(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return at.UTC().Format("2006-01-02 15:04Z")
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
