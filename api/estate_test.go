package api_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the rows, seen from outside

	"github.com/polset/polset"
)

// What the first tables of polset hold, for TestIsolation.
var (
	_ = thing("oauth_client", func(e *estate) string {
		return e.create("/organizations/{organization}/oauth-clients", gitHubClient)
	})
	_ = thing("oauth_token", func(e *estate) string {
		c, err := e.store.Connection(e.t.Context(), polset.System, e.thing("oauth_client"))
		if err != nil {
			e.t.Fatal(err)
		}
		return c.TokenID
	})
	_ = thing("installation", func(e *estate) string { return e.installation() })
	_ = thing("policy_set", func(e *estate) string {
		return e.create("/organizations/{organization}/policy-sets", followingSet)
	})
	_ = thing("version", func(e *estate) string { return e.version(e.thing("policy_set")) })

	_ = probe("POST /organizations", `{"data":{"type":"organizations","attributes":{"name":"another","email":"ops@another.example"}}}`)
	_ = probe("POST /organizations/:organization/oauth-clients", gitHubClient)
	_ = probe("POST /organizations/:organization/policy-sets",
		strings.Replace(followingSet, "production", "another", 1),
		`{"data":{"type":"policy-sets","attributes":{"name":"third","vcs-repo":{"identifier":"acme/policies","github-app-installation-id":"{installation}"}}}}`)
	_ = probe("PATCH /policy-sets/:policy_set",
		`{"data":{"type":"policy-sets","attributes":{"description":"changed","vcs-repo":{"identifier":"acme/other","oauth-token-id":"{oauth_token}"}}}}`)
	_ = probe("POST /policy-sets/:policy_set/actions/ingest", `{"data":{"attributes":{"commit":"`+commit+`"}}}`)
	_ = probe("POST /github-app/installation/:installation/relationships/organizations", `{"data":[{"type":"organizations","id":"{organization}"}]}`)
	_ = probe("DELETE /github-app/installation/:installation/relationships/organizations", `{"data":[{"type":"organizations","id":"{organization}"}]}`)
)

const (
	gitHubClient = `{"data":{"type":"oauth-clients","attributes":{"service-provider":"github",
		"http-url":"https://github.com","api-url":"https://api.github.com","oauth-token-string":"ghp_x"}}}`
	followingSet = `{"data":{"type":"policy-sets","attributes":{"name":"production",
		"vcs-repo":{"identifier":"acme/policies","branch":"main","oauth-token-id":"{oauth_token}"}}}}`
)

// dataID is the id of an answer's resource.
func dataID(t *testing.T, a answer) string {
	t.Helper()
	var doc struct{ Data struct{ ID string } }
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.Data.ID == "" {
		t.Fatalf("no id (%v): %s", err, a.body)
	}
	return doc.Data.ID
}

// installation has the App installed on an account for the organization.
func (e *estate) installation() string {
	e.t.Helper()
	number := int64(1000 + len(e.name)*1000 + int(sha256.Sum256([]byte(e.name))[0]))
	err := e.store.SaveInstallations(e.t.Context(), []polset.Installation{{
		ExternalID: number, AppID: 7, HTTPURL: "https://github.com", Account: e.name + "-on-github", AccountID: 1000 + number, AccountType: "Organization",
		IconURL: "https://avatars.example/" + e.name, HTMLURL: "https://github.com/organizations/" + e.name, Selection: "all",
	}}, false)
	if err != nil {
		e.t.Fatal(err)
	}
	list, _, err := e.store.Installations(e.t.Context(), polset.System, polset.InstallationFilter{ExternalID: number}, polset.Page{Number: 1, Size: 2})
	if err != nil || len(list) != 1 {
		e.t.Fatalf("%d installations of the number %d: %v", len(list), number, err)
	}
	if err := e.store.BindInstallation(e.t.Context(), polset.System, list[0].ID, e.name); err != nil {
		e.t.Fatal(err)
	}
	return list[0].ID
}

// version carries what a policy set waits for, and returns the version.
func (e *estate) version(policySetID string) string {
	e.t.Helper()
	ctx := e.t.Context()
	set, err := e.store.PolicySet(ctx, polset.System, policySetID)
	if err != nil {
		e.t.Fatal(err)
	}
	batch, err := e.store.Claim(ctx, set.VCS.RepositoryID, commit, time.Minute)
	if err != nil || len(batch.Claims) == 0 {
		e.t.Fatalf("%d claims: %v", len(batch.Claims), err)
	}
	text := "archive of " + e.name
	sum := sha256.Sum256([]byte(text))
	digest := hex.EncodeToString(sum[:])
	if err := e.bucket.Put(ctx, digest, int64(len(text)), strings.NewReader(text)); err != nil {
		e.t.Fatal(err)
	}
	content := polset.Content{Tree: "tree"}
	for _, claim := range batch.Claims {
		if _, err := e.store.Start(ctx, claim.Lease, content); err != nil {
			e.t.Fatal(err)
		}
		if err := e.store.Finish(ctx, claim.Lease, polset.Artifact{Digest: digest, Size: int64(len(text)), TarDigest: digest, Content: content}); err != nil {
			e.t.Fatal(err)
		}
	}
	return set.NewestVersionID
}

// everything is all that is remembered: the rows of every table, and the names
// of the objects. When tokens were used last is left out.
func (w *world) everything(t *testing.T) map[string][]string {
	t.Helper()
	if w.rows == nil {
		w.openRows()
	}
	all := map[string][]string{}
	for table, query := range w.tables {
		for _, row := range texts(t, w.rows, query) {
			all[table] = append(all[table], strings.Join(row, " | "))
		}
	}
	err := filepath.WalkDir(filepath.Join(w.dir, "objects"), func(path string, _ fs.DirEntry, err error) error {
		all["objects"] = append(all["objects"], path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all["organizations"]) < 2 || len(all["tokens"]) < 2 {
		t.Fatalf("the rows cannot be seen: %v", all)
	}
	return all
}

// openRows opens the rows beside the store, and learns what tables there are.
func (w *world) openRows() {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "polset.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	w.rows, w.tables = db, map[string]string{}
	for _, table := range texts(w.t, db, "SELECT name FROM sqlite_master WHERE type = 'table'") {
		var names []string
		for _, column := range texts(w.t, db, "SELECT name FROM pragma_table_info(?) WHERE name <> 'last_used_at'", table[0]) {
			names = append(names, `"`+column[0]+`"`)
		}
		w.tables[table[0]] = "SELECT " + strings.Join(names, ", ") + ` FROM "` + table[0] + `"`
	}
}

// texts are the rows of a query, each value as text.
func texts(t *testing.T, db *sql.DB, query string, args ...any) [][]string {
	t.Helper()
	result, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = result.Close() }()
	columns, err := result.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for result.Next() {
		values, row := make([]any, len(columns)), make([]string, len(columns))
		for n := range values {
			values[n] = new(any)
		}
		if err := result.Scan(values...); err != nil {
			t.Fatal(err)
		}
		for n, v := range values {
			row[n] = fmt.Sprint(*v.(*any))
		}
		out = append(out, row)
	}
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
