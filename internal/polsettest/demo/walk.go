package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// walk shows one thing after the other, and fails where one is not as
// promised.
func (w *world) walk(ctx context.Context, dir string) error {
	setID, first, err := w.follow(ctx)
	if err != nil {
		return err
	}
	w.step("A developer clones acme/policies, edits one policy and adds another")
	dev, err := clone(ctx, w.policies.URL(), w.gitToken, filepath.Join(dir, "clone"))
	if err != nil {
		return err
	}
	ready, err := w.improve(ctx, dev, setID, first)
	if err != nil {
		return err
	}
	if err := w.download(ctx, ready); err != nil {
		return err
	}
	if err := w.touchReadme(ctx, dev, setID, ready); err != nil {
		return err
	}
	if err := w.breakPolicy(ctx, dev, setID, ready); err != nil {
		return err
	}
	if err := w.revert(ctx, dev, setID, ready); err != nil {
		return err
	}
	head, err := w.audit(ctx, ready)
	if err != nil {
		return err
	}
	return w.verify(ctx, head)
}

// follow makes an organization whose policy set follows the repository.
func (w *world) follow(ctx context.Context) (setID string, first version, err error) {
	w.step("An organization, a connection and a policy set, through the API")
	if err := w.api.create(ctx, "/api/v2/organizations", "organizations", map[string]any{
		"name": "acme", "email": "platform@acme.example",
	}, &reference{}); err != nil {
		return "", first, err
	}
	var connection struct {
		Relationships struct {
			Tokens struct {
				Data []reference `json:"data"`
			} `json:"oauth-tokens"`
		} `json:"relationships"`
	}
	if err := w.api.create(ctx, "/api/v2/organizations/acme/oauth-clients", "oauth-clients", map[string]any{
		"service-provider": "github", "http-url": "https://github.com", "api-url": "https://api.github.com",
		"oauth-token-string": w.gitToken,
	}, &connection); err != nil {
		return "", first, err
	}
	if len(connection.Relationships.Tokens.Data) != 1 {
		return "", first, errors.New("the oauth client names no token")
	}
	token := connection.Relationships.Tokens.Data[0].ID
	var set policySet
	if err := w.api.create(ctx, "/api/v2/organizations/acme/policy-sets", "policy-sets", map[string]any{
		"name": "production", "kind": "opa", "global": true, "policies-path": policiesPath,
		"vcs-repo": map[string]any{
			"identifier": "acme/policies", "branch": "main", "ingress-submodules": true, "oauth-token-id": token,
		},
	}, &set); err != nil {
		return "", first, err
	}
	hook := set.Attributes.VCSRepo
	if hook.WebhookSecret == "" || !strings.HasPrefix(hook.WebhookURL, w.server.url+"/webhooks/vcs/") {
		return "", first, fmt.Errorf("the policy set names no hook of its own: %q", hook.WebhookURL)
	}
	w.say("organization acme, connection %s, policy set %s", token, set.ID)
	w.say("It follows %s on main of https://github.com/acme/policies, submodules too.", policiesPath)
	commit := w.policies.Head("main")
	first, err = w.awaitVersion(ctx, set.ID, commit, "ready")
	if err != nil {
		return "", first, err
	}
	w.checked("the first version %s is ready, without any push", first.ID)
	return set.ID, first, w.current(ctx, set.ID, first.ID)
}

// improve pushes a change of the policies.
func (w *world) improve(ctx context.Context, dev *checkout, setID string, before version) (v version, err error) {
	if err := dev.commit(ctx, "Keep database backups for 14 days, encrypt caches", w.lib.improvement()); err != nil {
		return v, err
	}
	changed, err := dev.git(ctx, "show", "--stat=76", "--format=", "HEAD")
	if err != nil {
		return v, err
	}
	w.quote(changed)
	commit, err := w.push(ctx, dev)
	if err != nil {
		return v, err
	}
	if v, err = w.awaitVersion(ctx, setID, commit, "ready"); err != nil {
		return v, err
	}
	requests, _, received := w.git.Traffic()
	if err := w.current(ctx, setID, v.ID); err != nil {
		return v, err
	}
	if got, want := len(v.Attributes.Policies), w.lib.declared()+1; got != want || v.ID == before.ID {
		return v, fmt.Errorf("version %s has %d policies, expected %d", v.ID, got, want)
	}
	w.say("fetched   %s, %.1f KB received, submodule included", plural(requests, "request"), float64(received)/1000)
	w.checked("version %s is ready and current, with %s", v.ID, plural(len(v.Attributes.Policies), "policy"))
	return v, nil
}

// listed is how many entries of the archive are shown.
const listed = 12

// download fetches the archive as a consumer does, and compares it with git.
func (w *world) download(ctx context.Context, v version) error {
	w.step("Its archive, by links.download")
	archive, err := w.api.send(ctx, "GET", v.Links.Download, nil, 200)
	if err != nil {
		return err
	}
	entries, tarDigest, err := untar(archive)
	if err != nil {
		return err
	}
	if sum(archive) != v.Attributes.ArchiveSHA256 || tarDigest != v.Attributes.TarSHA256 {
		return fmt.Errorf("the archive's sha256 is %s, its tar's %s; the version says %s and %s",
			sum(archive), tarDigest, v.Attributes.ArchiveSHA256, v.Attributes.TarSHA256)
	}
	for _, e := range entries[:min(listed, len(entries))] {
		h := e.header
		w.quote(fmt.Sprintf("%s %6d %s %s", h.FileInfo().Mode(), h.Size, h.ModTime.UTC().Format("2006-01-02 15:04"), h.Name))
	}
	if len(entries) > listed {
		w.quote(fmt.Sprintf("… and %d more", len(entries)-listed))
	}
	w.say("%s, %d bytes", plural(len(entries), "file"), len(archive))
	w.say("sha256 of the archive  %s", v.Attributes.ArchiveSHA256)
	w.say("sha256 of the tar      %s", v.Attributes.TarSHA256)
	want := lsTree(w.policies, w.helpers, v.Attributes.IngressAttributes.CommitSHA, policiesPath)
	if err := compare(entries, want); err != nil {
		return err
	}
	outside := len(w.policies.LsTree(v.Attributes.IngressAttributes.CommitSHA, "")) - len(w.policies.LsTree(v.Attributes.IngressAttributes.CommitSHA, policiesPath))
	w.checked("the same names, bytes and modes as git ls-tree -r says, submodule included;")
	w.say("    none of the %s outside %s", plural(outside, "file"), policiesPath)
	return nil
}

// touchReadme pushes what is no concern of the policy set.
func (w *world) touchReadme(ctx context.Context, dev *checkout, setID string, now version) error {
	w.step("A push that touches only README.md")
	if err := dev.commit(ctx, "Say where to ask", w.lib.remark()); err != nil {
		return err
	}
	commit, err := w.push(ctx, dev)
	if err != nil {
		return err
	}
	i, err := w.awaitIngestion(ctx, setID, commit, "unchanged")
	if err != nil {
		return err
	}
	if i.Relationships.Version.Data.ID != now.ID {
		return fmt.Errorf("ingestion %s names version %q, expected %s", i.ID, i.Relationships.Version.Data.ID, now.ID)
	}
	made, err := w.api.versions(ctx, setID, commit)
	if err != nil {
		return err
	}
	if len(made) > 0 {
		return fmt.Errorf("the push made version %s", made[0].ID)
	}
	w.checked("no new version: %s is what %s still is", now.ID, policiesPath)
	return nil
}

// position is how a compiler says where.
var position = regexp.MustCompile(`aws/s3_encryption\.rego:\d+:\d+`)

// breakPolicy pushes a policy that does not compile.
func (w *world) breakPolicy(ctx context.Context, dev *checkout, setID string, now version) error {
	w.step("A push of a policy that calls a function by a wrong name")
	if err := dev.commit(ctx, "Tidy up", w.lib.mistake()); err != nil {
		return err
	}
	commit, err := w.push(ctx, dev)
	if err != nil {
		return err
	}
	v, err := w.awaitVersion(ctx, setID, commit, "errored")
	if err != nil {
		return err
	}
	w.quote(v.Attributes.Error + "\n" + v.Attributes.ErrorMessage)
	if v.Attributes.Error != "policy-invalid" || !position.MatchString(v.Attributes.ErrorMessage) {
		return errors.New("the reason is not policy-invalid with the file, the line and the column")
	}
	if err := w.current(ctx, setID, now.ID); err != nil {
		return err
	}
	w.checked("version %s is errored and says where; %s stays in force", v.ID, now.ID)
	return nil
}

// revert takes the broken policy back.
func (w *world) revert(ctx context.Context, dev *checkout, setID string, before version) error {
	w.step("git revert heals it")
	if _, err := dev.git(ctx, "revert", "--no-edit", "HEAD"); err != nil {
		return err
	}
	commit, err := w.push(ctx, dev)
	if err != nil {
		return err
	}
	v, err := w.awaitVersion(ctx, setID, commit, "ready")
	if err != nil {
		return err
	}
	if v.Attributes.TarSHA256 != before.Attributes.TarSHA256 || v.Attributes.ArchiveSHA256 != before.Attributes.ArchiveSHA256 {
		return fmt.Errorf("the same tree has other digests: tar %s, expected %s", v.Attributes.TarSHA256, before.Attributes.TarSHA256)
	}
	if err := w.current(ctx, setID, v.ID); err != nil {
		return err
	}
	w.checked("version %s is current: the same tree, so the same digest %s…, stored once", v.ID, short(v.Attributes.ArchiveSHA256))
	return nil
}
