package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/policy"
)

// What a manifest's metadata names, by ids: names change without a version.
const (
	metaPolicySet = "policy_set"
	metaVersion   = "version"
	metaCommit    = "commit"
)

// build makes the bundle of a version: what OPA loads of its archive, the
// manifest, and the signature. The bytes are the same wherever they are made,
// but for the signature.
//
// A worker process compiled the policies when the version came. Here they are
// parsed once more, in this process, which is bounded by the limits on what a
// set may hold.
func (b *Bundles) build(ctx context.Context, v polset.Version) ([]byte, error) {
	files, err := b.open(ctx, v.Artifact.Digest)
	if err != nil {
		return nil, err
	}
	set, err := policy.ReadBundle(ctx, files, v.Artifact.PoliciesDirectory)
	if err != nil {
		return nil, err
	}
	// The revision is the version: people find it in what an agent says of
	// itself, and ask polset which commit it is.
	metadata := map[string]string{metaPolicySet: v.PolicySetID, metaVersion: v.ID}
	if v.Commit != "" {
		metadata[metaCommit] = v.Commit
	}
	if set.Files[policy.ManifestFile], err = set.Manifest(v.ID, metadata); err != nil {
		return nil, err
	}
	if b.Signer != nil {
		if set.Files[policy.SignaturesFile], err = b.Signer.Sign(set.Files); err != nil {
			return nil, err
		}
	}
	root := &archive.Node{Mode: archive.ModeDirectory}
	for name, content := range set.Files {
		root.Place(name, &archive.Node{Mode: archive.ModeFile, Data: content})
	}
	var out bytes.Buffer
	if _, err := archive.Write(ctx, &out, root.FS(), b.Limits); err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	if err := policy.CheckBundle(bytes.NewReader(out.Bytes()), b.Signer); err != nil {
		return nil, &polset.Failure{
			Class: polset.ClassPolicyInvalid, Err: err,
			Message: fmt.Sprintf("OPA does not load this version as a bundle: %v", err),
		}
	}
	return out.Bytes(), nil
}

// open reads the archive of a version.
func (b *Bundles) open(ctx context.Context, digest string) (_ fs.FS, err error) {
	stored, _, err := b.Objects.Open(ctx, digest)
	if err != nil {
		return nil, unreachable(err)
	}
	defer func() { err = errors.Join(err, stored.Close()) }()
	files, err := archive.Read(ctx, stored, b.Limits)
	var failure *polset.Failure
	if err != nil && !errors.As(err, &failure) {
		return nil, unreachable(err)
	}
	return files, err
}

func unreachable(err error) error {
	return &polset.Failure{
		Class: polset.ClassStorage, Retry: true, RetryAfter: 5 * time.Second, Err: err,
		Message: "The archive of this version cannot be read from the object storage at the moment. Ask again later.",
	}
}
