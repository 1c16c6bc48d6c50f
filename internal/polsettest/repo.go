package polsettest

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A Repo is one bare repository of a Git server.
type Repo struct {
	Identifier string // owner/name
	ID         int64  // as GitHub's numeric repository id

	git    *Git
	dir    string
	config []string // key, value, key, value …
	v0     bool

	moving        sync.Mutex // one commit or push at a time, so that each sees its own refs move
	mu            sync.Mutex
	defaultBranch string
	token         string
	hidden        bool
	onPush        func(Push)
}

// A RepoOption is an argument of Create.
type RepoOption func(*Repo)

// DefaultBranch makes HEAD point at another branch than main.
func DefaultBranch(name string) RepoOption {
	return func(r *Repo) { r.defaultBranch = name }
}

// WithoutFilter makes the server know no partial clones.
func WithoutFilter() RepoOption {
	return func(r *Repo) { r.config = append(r.config, "uploadpack.allowFilter", "false") }
}

// WithoutAnySHA1 makes the server give tips of branches only. Git knows this
// restriction in protocol version 0 alone; combine it with V0Only.
func WithoutAnySHA1() RepoOption {
	return func(r *Repo) {
		r.config = append(r.config,
			"uploadpack.allowAnySHA1InWant", "false",
			"uploadpack.allowReachableSHA1InWant", "false",
			"uploadpack.allowTipSHA1InWant", "false")
	}
}

// V0Only makes the server ignore the client's wish for protocol version 2.
func V0Only() RepoOption {
	return func(r *Repo) { r.v0 = true }
}

// Config sets a value of the repository's git configuration.
func Config(key, value string) RepoOption {
	return func(r *Repo) { r.config = append(r.config, key, value) }
}

// Create makes an empty repository, public and without pushes. The identifier
// is owner/name; the default branch is main.
func (g *Git) Create(identifier string, options ...RepoOption) *Repo {
	owner, name, ok := strings.Cut(identifier, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		g.fatal(fmt.Errorf("create repository: %q is not owner/name", identifier))
		return nil
	}
	r := &Repo{
		Identifier:    identifier,
		git:           g,
		dir:           filepath.Join(g.dir, owner, name+".git"),
		defaultBranch: "main",
		config: []string{
			"uploadpack.allowFilter", "true",
			"uploadpack.allowAnySHA1InWant", "true",
			"uploadpack.allowReachableSHA1InWant", "true",
			"uploadpack.allowTipSHA1InWant", "true",
			"http.getanyfile", "false", // GitHub serves smart HTTP only
			"gc.auto", "0",
			"receive.autogc", "false",
		},
	}
	for _, option := range options {
		option(r)
	}
	if err := os.MkdirAll(r.dir, 0o750); err != nil {
		g.fatal(fmt.Errorf("create repository: %w", err))
		return nil
	}
	if _, err := g.run(r.dir, nil, "init", "--quiet", "--bare", "--initial-branch="+r.defaultBranch, "."); err != nil {
		g.fatal(fmt.Errorf("create repository: %w", err))
		return nil
	}
	if err := r.configure(); err != nil {
		g.fatal(fmt.Errorf("create repository: %w", err))
		return nil
	}
	key := strings.ToLower(identifier)
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, exists := g.repos[key]; exists {
		g.fatal(fmt.Errorf("create repository: %s exists", identifier))
		return nil
	}
	r.ID = 1_296_269 + g.created
	g.created++
	g.repos[key] = r
	return r
}

// configure appends to the configuration file itself: one process for each
// value would cost more than the rest of Create.
func (r *Repo) configure() error {
	var text strings.Builder
	for i := 0; i < len(r.config); i += 2 {
		section, key, ok := strings.Cut(r.config[i], ".")
		if !ok || strings.Contains(key, ".") {
			return fmt.Errorf("configuration key %q is not section.key", r.config[i])
		}
		fmt.Fprintf(&text, "[%s]\n\t%s = %q\n", section, key, r.config[i+1])
	}
	f, err := os.OpenFile(filepath.Join(r.dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text.String()); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// Repo returns a repository that was created before.
func (g *Git) Repo(identifier string) *Repo {
	g.mu.Lock()
	r := g.repos[strings.ToLower(identifier)]
	g.mu.Unlock()
	if r == nil {
		g.fatal(fmt.Errorf("there is no repository %s", identifier))
	}
	return r
}

// URL is where the repository can be cloned from, with .git.
func (r *Repo) URL() string { return r.git.URL() + "/" + r.Identifier + ".git" }

// Dir is the bare repository on disk.
func (r *Repo) Dir() string { return r.dir }

// RequireToken makes the repository private: whoever does not send token as
// the password of Basic authentication (with any user name, as GitHub allows
// beside its x-access-token) is answered 401. An empty token makes it public.
func (r *Repo) RequireToken(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token, r.hidden = token, false
}

// HideWithout is RequireToken, but a wrong token is answered 404, as GitHub
// answers a valid token that gives no right to the repository.
func (r *Repo) HideWithout(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token, r.hidden = token, true
}

// Git runs any git command in the repository and returns what it printed,
// without the white space at its end.
func (r *Repo) Git(args ...string) string {
	out, err := r.git.run(r.dir, nil, args...)
	if err != nil {
		r.git.fatal(fmt.Errorf("%s: %w", r.Identifier, err))
		return ""
	}
	return strings.TrimRight(string(out), " \t\r\n")
}

// Head is the commit of a branch, or "" where the branch does not exist.
func (r *Repo) Head(branch string) string {
	return r.Git("for-each-ref", "--format=%(objectname)", "refs/heads/"+branch)
}

// TreeID is the id of the tree (or blob) at path; "" is the commit's root.
func (r *Repo) TreeID(commit, path string) string {
	return r.Git("rev-parse", "--verify", commit+":"+path)
}

// LsTree lists every file, link and submodule below path ("" for all), as
// git ls-tree -r does, in git's order and with names relative to path.
func (r *Repo) LsTree(commit, path string) []Entry {
	out, err := r.git.run(r.dir, nil, "ls-tree", "-r", "-z", "-l", "--full-tree", commit+":"+path)
	if err != nil {
		r.git.fatal(fmt.Errorf("%s: %w", r.Identifier, err))
		return nil
	}
	var entries []Entry
	for line := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
		meta, name, ok := strings.Cut(string(line), "\t")
		fields := strings.Fields(meta)
		if !ok || len(fields) != 4 {
			continue // an empty tree prints nothing
		}
		size, err := strconv.ParseInt(fields[3], 10, 64)
		if err != nil {
			size = 0 // a submodule has none
		}
		entries = append(entries, Entry{Mode: fields[0], SHA: fields[2], Size: size, Name: name})
	}
	return entries
}

// Cat returns the bytes of the file, or the target of the link, at path.
func (r *Repo) Cat(commit, path string) []byte {
	out, err := r.git.run(r.dir, nil, "cat-file", "blob", commit+":"+path)
	if err != nil {
		r.git.fatal(fmt.Errorf("%s: %w", r.Identifier, err))
	}
	return out
}

// OnPush allows git push over HTTP, to whoever may read, and calls hook once
// for each branch or tag that a push moved: in a goroutine of its own, after
// git's answer, as GitHub sends its webhooks.
func (r *Repo) OnPush(hook func(Push)) {
	r.Git("config", "http.receivepack", "true")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onPush = hook
}

// receive serves one push and tells the hook what it moved.
func (r *Repo) receive(w http.ResponseWriter, req *http.Request) {
	pushes, err := func() ([]Push, error) {
		r.moving.Lock()
		defer r.moving.Unlock()
		before, err := r.refs()
		if err != nil {
			return nil, err
		}
		r.serve(w, req, "/git-receive-pack")
		return r.moved(before)
	}()
	if err != nil {
		r.git.stderr.logger().Printf("find what was pushed to %s: %v", r.Identifier, err)
		return
	}
	r.mu.Lock()
	hook := r.onPush
	r.mu.Unlock()
	if hook == nil {
		return
	}
	r.git.running.Add(1) // under the handler's own, so Close is not yet waiting for zero
	go func() {
		defer r.git.running.Done()
		for _, push := range pushes {
			hook(push)
		}
	}()
}

// moved lists the refs that differ from before, by name.
func (r *Repo) moved(before map[string]string) ([]Push, error) {
	after, err := r.refs()
	if err != nil {
		return nil, err
	}
	names := maps.Clone(before)
	maps.Copy(names, after)
	var pushes []Push
	for _, ref := range slices.Sorted(maps.Keys(names)) {
		if before[ref] == after[ref] {
			continue
		}
		p, err := r.push(ref, before[ref], after[ref])
		if err != nil {
			return nil, err
		}
		pushes = append(pushes, p)
	}
	return pushes, nil
}

// refs maps each branch and tag to what it points at.
func (r *Repo) refs() (map[string]string, error) {
	out, err := r.git.run(r.dir, nil, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if ref, commit, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			refs[ref] = commit
		}
	}
	return refs, nil
}
