package polset

import (
	"slices"
	"time"
)

// A ToolVersion is a release of OPA or Sentinel that the site admin declares.
type ToolVersion struct {
	ID               string // tool-…
	Tool             Kind   // the language that it evaluates
	Version          string
	URL              string // of the build for ToolOS and ToolArch; "" without one
	SHA              string // of the same
	Builds           []ToolBuild
	Official         bool
	Enabled          bool
	Beta             bool
	Deprecated       bool
	DeprecatedReason string
	Usage            int // policy sets that ask for it
	CreatedAt        time.Time
}

// A ToolBuild is a ToolVersion for one platform (HCP Terraform's "archs").
type ToolBuild struct {
	URL  string `json:"url"`
	SHA  string `json:"sha"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
}

// The platform of the build that clients name without saying a platform.
const (
	ToolOS   = "linux"
	ToolArch = "amd64"
)

// A ToolVersionChange is an update of a ToolVersion: nil leaves a value alone.
type ToolVersionChange struct {
	Version, URL, SHA                   *string
	Builds                              *[]ToolBuild // in the place of all
	Official, Enabled, Beta, Deprecated *bool
	DeprecatedReason                    *string
}

// With returns the version with the change. URL and SHA are those of one of the
// builds, whichever of the two the change names; the builds win.
func (v ToolVersion) With(c ToolVersionChange) ToolVersion {
	for to, value := range map[*string]*string{&v.Version: c.Version, &v.URL: c.URL, &v.SHA: c.SHA, &v.DeprecatedReason: c.DeprecatedReason} {
		if value != nil {
			*to = *value
		}
	}
	for to, value := range map[*bool]*bool{&v.Official: c.Official, &v.Enabled: c.Enabled, &v.Beta: c.Beta, &v.Deprecated: c.Deprecated} {
		if value != nil {
			*to = *value
		}
	}
	common := func(b ToolBuild) bool { return b.OS == ToolOS && b.Arch == ToolArch }
	if c.Builds != nil {
		v.Builds, v.URL, v.SHA = slices.Clone(*c.Builds), "", ""
		if i := slices.IndexFunc(v.Builds, common); i >= 0 {
			v.URL, v.SHA = v.Builds[i].URL, v.Builds[i].SHA
		}
		return v
	}
	if c.URL == nil && c.SHA == nil {
		return v
	}
	v.Builds = slices.Clone(v.Builds)
	i := slices.IndexFunc(v.Builds, common)
	if i < 0 {
		i, v.Builds = len(v.Builds), append(v.Builds, ToolBuild{OS: ToolOS, Arch: ToolArch})
	}
	v.Builds[i].URL, v.Builds[i].SHA = v.URL, v.SHA
	return v
}

// A ToolFilter narrows a list of tool versions. Zero values do not narrow.
type ToolFilter struct {
	Version string
	Search  string // a part of the version
}
