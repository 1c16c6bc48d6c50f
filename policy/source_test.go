package policy

import "testing"

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		dir, src, want string
		err            string
	}{
		{"aws", "./x.sentinel", "aws/x.sentinel", ""},
		{"aws", "x.sentinel", "aws/x.sentinel", ""},
		{"aws", "modules/x.sentinel", "aws/modules/x.sentinel", ""},
		{"aws", "v1.2/x.sentinel", "aws/v1.2/x.sentinel", ""},
		{"aws", ".hidden.com/x.sentinel", "aws/.hidden.com/x.sentinel", ""},
		{"aws", "../common/x.sentinel", "common/x.sentinel", ""},
		{"a/b", "../../x.sentinel", "x.sentinel", ""},
		{"", "./x.sentinel", "x.sentinel", ""},
		{"", "..x/y.sentinel", "..x/y.sentinel", ""},
		{"aws", "./a:b/x.sentinel", "aws/a:b/x.sentinel", ""},
		{"aws", "./x@y:z.sentinel", "aws/x@y:z.sentinel", ""},

		{"aws", "https://example.com/x.sentinel", "", ""},
		{"aws", "http://example.com/../../x.sentinel", "", ""},
		{"aws", "git::https://example.com/x.git//main.sentinel", "", ""},
		{"aws", "s3::https://s3.amazonaws.com/b/x.sentinel", "", ""},
		{"aws", "git@github.com:hashicorp/x.git//main.sentinel", "", ""},
		{"aws", "github.com/hashicorp/x//main.sentinel", "", ""},
		{"aws", "raw.githubusercontent.com/a/b/x.sentinel", "", ""},

		{"", "../x.sentinel", "", "climbs out of the repository"},
		{"aws", "../../x.sentinel", "", "climbs out of the repository"},
		{"aws", "a/../../../x.sentinel", "", "climbs out of the repository"},
		{"aws", "", "", "is empty"},
		{"aws", ".", "", "names a directory; name a file"},
		{"aws", "..", "", "names a directory; name a file"},
		{"aws", "./modules/", "", "names a directory; name a file"},
		{"aws", "FILE:///etc/passwd", "", "names a file of the machine that runs the policy; write the path from the configuration file, such as ./x.sentinel"},
		{"aws", "file::/etc/passwd", "", "names a file of the machine that runs the policy; write the path from the configuration file, such as ./x.sentinel"},
		{"aws", "/etc/passwd", "", "is an absolute path; write the path from the configuration file, such as ./x.sentinel"},
		{"aws", "~/x.sentinel", "", "is an absolute path; write the path from the configuration file, such as ./x.sentinel"},
		{"aws", "./x\x00.sentinel", "", "contains a character that no source may hold; separate directories with /"},
	} {
		got, err := resolve(c.dir, c.src)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got != c.want || message != c.err {
			t.Errorf("resolve(%q, %q) = %q, %q; want %q, %q", c.dir, c.src, got, message, c.want, c.err)
		}
	}
}
