package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// installationPrefix begins the ids of installations.
const installationPrefix = "ghain-"

// Installation returns an installation by its ghain-… id. The site admin sees
// all, with the organizations that may use it; an organization sees those that
// it may use.
func (s *Store) Installation(ctx context.Context, by polset.Principal, id string) (polset.Installation, error) {
	if !by.SiteAdmin() {
		r, err := usableInstallation(ctx, s.reads, by.OrganizationID, id)
		if err != nil {
			return polset.Installation{}, fmt.Errorf("read installation %s: %w", id, err)
		}
		return installation(r)
	}
	r, err := s.reads.Installation(ctx, id)
	if err != nil {
		return polset.Installation{}, fmt.Errorf("read installation %s: %w", id, found(err))
	}
	list := make([]polset.Installation, 1)
	if list[0], err = installation(r); err != nil {
		return polset.Installation{}, err
	}
	err = s.nameOrganizations(ctx, list)
	return list[0], err
}

// Installations lists the installations that exist, by account, and says how
// many there are in all: to the site admin every one, to an organization those
// that it may use.
func (s *Store) Installations(ctx context.Context, by polset.Principal, f polset.InstallationFilter, page polset.Page) ([]polset.Installation, int, error) {
	var q filter
	q.conditions = append(q.conditions, "deleted_at IS NULL")
	if !by.SiteAdmin() {
		q.add("id IN (SELECT installation_id FROM installation_organizations WHERE organization_id = ?)", by.OrganizationID)
	}
	if f.Account != "" {
		q.add("lower(account) = ?", strings.ToLower(f.Account))
	}
	if f.ExternalID != 0 {
		q.add("external_id = ?", f.ExternalID)
	}
	const columns = `SELECT id, external_id, app_id, http_url, account, account_id, account_type, icon_url, html_url, selection,
		permissions, installer_id, suspended_at, deleted_at, created_at, updated_at FROM installations`
	list, total, err := queryPage(ctx, s, "installations", columns, q, "lower(account), id", page, func(result *sql.Rows) (polset.Installation, error) {
		var r rows.Installation
		err := result.Scan(&r.ID, &r.ExternalID, &r.AppID, &r.HTTPURL, &r.Account, &r.AccountID, &r.AccountType, &r.IconURL,
			&r.HTMLURL, &r.Selection, &r.Permissions, &r.InstallerID, &r.SuspendedAt, &r.DeletedAt, &r.CreatedAt, &r.UpdatedAt)
		if err != nil {
			return polset.Installation{}, err
		}
		return installation(r)
	})
	if err == nil && by.SiteAdmin() {
		err = s.nameOrganizations(ctx, list)
	}
	return list, total, err
}

// nameOrganizations fills in which organizations may use installations.
func (s *Store) nameOrganizations(ctx context.Context, list []polset.Installation) error {
	if len(list) == 0 {
		return nil
	}
	ids, at := make([]string, len(list)), map[string]int{}
	for n, i := range list {
		ids[n], at[i.ID] = i.ID, n
	}
	var q filter
	q.in("installation_organizations.installation_id", ids)
	type binding struct{ installation, organization string }
	bindings, err := queryAll(ctx, s, "installation_organizations", `SELECT installation_organizations.installation_id, organizations.name
		FROM installation_organizations JOIN organizations ON organizations.id = installation_organizations.organization_id`+
		q.where()+" ORDER BY organizations.name", q.args, func(result *sql.Rows) (b binding, err error) {
		return b, result.Scan(&b.installation, &b.organization)
	})
	if err != nil {
		return err
	}
	for _, b := range bindings {
		i := &list[at[b.installation]]
		i.Organizations = append(i.Organizations, b.organization)
	}
	return nil
}

// usableInstallation is one that exists and that the tenant may use; the site
// admin, "", may use all.
func usableInstallation(ctx context.Context, q *rows.Queries, tenant, id string) (rows.Installation, error) {
	if tenant != "" {
		r, err := q.InstallationOfOrganization(ctx, rows.InstallationOfOrganizationParams{ID: id, OrganizationID: tenant})
		return r, found(err)
	}
	r, err := q.Installation(ctx, id)
	if err == nil && r.DeletedAt.Valid {
		err = polset.ErrNotFound
	}
	return r, found(err)
}

// holdInstallation locks an installation that the tenant may use, so that
// whatever happens to it from now on finds what the caller makes with it.
func (t *tx) holdInstallation(ctx context.Context, tenant, id string) (rows.Installation, error) {
	r, err := usableInstallation(ctx, t.Queries, tenant, id)
	if err != nil {
		return r, err
	}
	if err := t.lock(ctx, installationRow, r.ID); err != nil {
		return r, err
	}
	return usableInstallation(ctx, t.Queries, tenant, id)
}

// SaveInstallations makes the rows equal to what GitHub lists, and draws the
// consequences for policy sets where they were not. A complete list also says
// which installations exist no more. What was heard of within some minutes may
// be newer than the list, and waits for the next one.
func (s *Store) SaveInstallations(ctx context.Context, list []polset.Installation, complete bool) error {
	known, err := s.reads.AllInstallations(ctx)
	if err != nil {
		return fmt.Errorf("save installations: %w", err)
	}
	rest := map[int64]rows.Installation{}
	for _, r := range known {
		rest[r.ExternalID] = r
	}
	for _, i := range list {
		r, ok := rest[i.ExternalID]
		delete(rest, i.ExternalID)
		if ok {
			if _, changed, err := stateOf(r, i); err != nil {
				return fmt.Errorf("save installations: %w", err)
			} else if !changed && !r.DeletedAt.Valid {
				continue
			}
		}
		if err := s.saveInstallation(ctx, i, false); err != nil {
			return fmt.Errorf("save installation %d: %w", i.ExternalID, err)
		}
	}
	if !complete {
		return nil
	}
	for number, r := range rest {
		if r.DeletedAt.Valid {
			continue
		}
		if err := s.saveInstallation(ctx, polset.Installation{ExternalID: number}, true); err != nil {
			return fmt.Errorf("save that installation %d is gone: %w", number, err)
		}
	}
	return nil
}

// settling is how long a list that GitHub gave may be older than a delivery
// that came before it was saved.
const settling = 10 * time.Minute

func (s *Store) saveInstallation(ctx context.Context, i polset.Installation, gone bool) error {
	return s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		i.InstallerID = 0 // only a signed delivery tells
		r, isNew, err := tx.lockInstallation(ctx, i)
		if err != nil {
			return err
		}
		e := installationEvent{row: r, details: map[string]string{"cause": "list"}}
		switch {
		case isNew:
			return tx.noteInstallation(ctx, e, "created")
		case gone && tx.now.Sub(r.CreatedAt) < settling, !gone && r.DeletedAt.Valid && tx.now.Sub(r.DeletedAt.Time) < settling:
			return nil
		case gone:
			_, _, err := s.installationDeleted(ctx, tx, e)
			return err
		}
		next, changed, err := stateOf(r, i)
		if err != nil || !changed && !r.DeletedAt.Valid {
			return err
		}
		next.DeletedAt = sql.NullTime{}
		return s.installationChanged(ctx, tx, e, next)
	})
}

// lockInstallation holds the row of an installation, and makes it where there
// is none.
func (t *tx) lockInstallation(ctx context.Context, i polset.Installation) (r rows.Installation, isNew bool, err error) {
	r, err = t.InstallationByNumber(ctx, i.ExternalID)
	if errors.Is(found(err), polset.ErrNotFound) {
		isNew = true
		r, err = t.insertInstallation(ctx, i)
	}
	if err != nil {
		return r, false, err
	}
	if err := t.lock(ctx, installationRow, r.ID); err != nil {
		return r, false, err
	}
	r, err = t.Installation(ctx, r.ID)
	return r, isNew, err
}

func (t *tx) insertInstallation(ctx context.Context, i polset.Installation) (rows.Installation, error) {
	permissions, err := json.Marshal(nonNilMap(i.Permissions))
	if err != nil {
		return rows.Installation{}, err
	}
	if i.CreatedAt.IsZero() {
		i.CreatedAt = t.now
	}
	if i.UpdatedAt.IsZero() {
		i.UpdatedAt = time.Unix(0, 0) // whatever GitHub says of it next is newer
	}
	n, err := t.InsertInstallation(ctx, rows.InsertInstallationParams{
		ID: polset.NewID("ghain"), ExternalID: i.ExternalID, AppID: i.AppID, HTTPURL: i.HTTPURL, Account: i.Account,
		AccountID: i.AccountID, AccountType: i.AccountType, IconURL: i.IconURL, HTMLURL: i.HTMLURL, Selection: i.Selection,
		Permissions: string(permissions), InstallerID: i.InstallerID, SuspendedAt: nullTime(micro(i.SuspendedAt)),
		DeletedAt: nullTime(micro(i.DeletedAt)), CreatedAt: micro(i.CreatedAt), UpdatedAt: micro(i.UpdatedAt),
	})
	if err != nil {
		return rows.Installation{}, err
	}
	if n == 0 {
		return rows.Installation{}, errAgain // another transaction was faster
	}
	return t.InstallationByNumber(ctx, i.ExternalID)
}

// another tells whether what is said of an installation is of another one than
// the row's: every host counts its own. What is not said tells nothing.
func another(r rows.Installation, i polset.Installation) bool {
	return i.HTTPURL != "" && r.HTTPURL != "" && hostOf(i.HTTPURL) != hostOf(r.HTTPURL) ||
		i.AppID != 0 && r.AppID != 0 && i.AppID != r.AppID
}

// stateOf is a row with what GitHub says of the installation, and whether that
// differs. What GitHub said before the row's state changes nothing.
func stateOf(r rows.Installation, i polset.Installation) (next rows.Installation, changed bool, err error) {
	if !i.UpdatedAt.IsZero() && micro(i.UpdatedAt).Before(r.UpdatedAt) {
		return r, false, nil
	}
	now, err := installation(r)
	if err != nil {
		return r, false, err
	}
	next = r
	for _, text := range []struct {
		into *string
		from string
	}{
		{&next.Account, i.Account},
		{&next.AccountType, i.AccountType},
		{&next.IconURL, i.IconURL},
		{&next.HTMLURL, i.HTMLURL},
		{&next.Selection, i.Selection},
	} {
		if text.from != "" {
			*text.into = text.from
		}
	}
	if i.AccountID != 0 {
		next.AccountID = i.AccountID
	}
	if i.Permissions != nil && !maps.Equal(i.Permissions, now.Permissions) {
		b, err := json.Marshal(i.Permissions)
		if err != nil {
			return r, false, err
		}
		next.Permissions = string(b)
	}
	next.SuspendedAt = nullTime(micro(i.SuspendedAt))
	if !i.UpdatedAt.IsZero() {
		next.UpdatedAt = micro(i.UpdatedAt)
	}
	same := next
	same.UpdatedAt = r.UpdatedAt
	if same.SuspendedAt.Valid && r.SuspendedAt.Valid {
		same.SuspendedAt = r.SuspendedAt
	}
	return next, same != r || !next.UpdatedAt.Equal(r.UpdatedAt), nil
}

func (t *tx) saveInstallationRow(ctx context.Context, r rows.Installation) error {
	return t.UpdateInstallation(ctx, rows.UpdateInstallationParams{
		ID: r.ID, AppID: r.AppID, HTTPURL: r.HTTPURL, Account: r.Account, AccountID: r.AccountID, AccountType: r.AccountType,
		IconURL: r.IconURL, HTMLURL: r.HTMLURL, Selection: r.Selection, Permissions: r.Permissions, InstallerID: r.InstallerID,
		SuspendedAt: r.SuspendedAt, DeletedAt: r.DeletedAt, UpdatedAt: r.UpdatedAt,
	})
}

func installation(r rows.Installation) (polset.Installation, error) {
	i := polset.Installation{
		ID: r.ID, ExternalID: r.ExternalID, AppID: r.AppID, HTTPURL: r.HTTPURL, Account: r.Account, AccountID: r.AccountID,
		AccountType: r.AccountType, IconURL: r.IconURL, HTMLURL: r.HTMLURL, Selection: r.Selection, InstallerID: r.InstallerID,
		SuspendedAt: utc(r.SuspendedAt), DeletedAt: utc(r.DeletedAt), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
	if err := json.Unmarshal([]byte(r.Permissions), &i.Permissions); err != nil {
		return i, fmt.Errorf("read permissions of installation %s: not a JSON object", r.ID)
	}
	return i, nil
}

// micro is a time as the rows hold it.
func micro(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Microsecond)
}

func nonNilMap(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
