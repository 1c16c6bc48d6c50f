package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

func TestCompose(t *testing.T) {
	opa := []polset.Policy{
		{Name: "b", Kind: polset.KindOPA, Query: "data.b.deny", EnforcementLevel: "mandatory", Description: "no public buckets"},
		{Name: "a-1_X", Kind: polset.KindOPA, Query: "data.a.deny", EnforcementLevel: "advisory"},
	}
	name, src, err := policy.Compose(polset.KindOPA, opa)
	if want := `# Made by polset of the policies that are members of the policy set.

policy "b" {
  query             = "data.b.deny"
  enforcement_level = "mandatory"
  description       = "no public buckets"
}

policy "a-1_X" {
  query             = "data.a.deny"
  enforcement_level = "advisory"
}
`; err != nil || name != "policies.hcl" || string(src) != want {
		t.Errorf("%s %v\n%s", name, err, src)
	}
	name, src, err = policy.Compose(polset.KindSentinel, []polset.Policy{{Name: "s", Kind: polset.KindSentinel, EnforcementLevel: "soft-mandatory", Description: "left out"}})
	if want := `# Made by polset of the policies that are members of the policy set.

policy "s" {
  source            = "./s.sentinel"
  enforcement_level = "soft-mandatory"
}
`; err != nil || name != "sentinel.hcl" || string(src) != want {
		t.Errorf("%s %v\n%s", name, err, src)
	}
	if _, _, err := policy.Compose(polset.KindOPA, []polset.Policy{{Name: "s", Kind: polset.KindSentinel}}); err == nil {
		t.Error("a policy of another kind was taken")
	}
}

// What people write into a description or a query stays what it is: text.
func TestComposeHostileText(t *testing.T) {
	for n, text := range []string{
		`"`, `\`, `\"`, "${file(\"/etc/passwd\")}", "%{ for x in [1] }", "$${x}", "a\nb\r\n\tc", "#", "/*", `"}
policy "other" {
  query = "data.x"
}`, "EOT", "a\u2028b", "\x7f", "ß日本語", strings.Repeat("\\${", 300),
	} {
		t.Run(fmt.Sprintf("text %d", n), func(t *testing.T) {
			p := polset.Policy{Name: "p", Kind: polset.KindOPA, Query: text, EnforcementLevel: "advisory", Description: text}
			name, src, err := policy.Compose(p.Kind, []polset.Policy{p})
			if err != nil {
				t.Fatal(err)
			}
			set, err := policy.Read(fstest.MapFS{name: {Data: src}}, "", p.Kind)
			if err != nil {
				t.Fatalf("%v\n%s", err, src)
			}
			if got := set.Policies; len(got) != 1 || got[0].Name != "p" || got[0].Query != text || got[0].Description != text || got[0].EnforcementLevel != "advisory" {
				t.Errorf("%+v\n%s", got, src)
			}
		})
	}
}
