package ingest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/lease"
	"github.com/polset/polset/policy"
)

// Materializations are policy sets whose own policies changed.
type Materializations interface {
	// ClaimMaterializations leases up to n of them.
	ClaimMaterializations(ctx context.Context, n int, ttl time.Duration) ([]polset.Materialization, error)
	// RenewMaterializations extends leases; ErrFenced says that one is lost.
	RenewMaterializations(ctx context.Context, leases []polset.Lease, ttl time.Duration) error
	// SettleMaterialization writes what became of one, its version included.
	SettleMaterialization(ctx context.Context, m polset.Materialization, outcome polset.MaterializationOutcome) error
}

// Code holds the code of policies by its sha256 in hex. The error of code that
// is not there is fs.ErrNotExist.
type Code interface {
	Open(ctx context.Context, key string) (io.ReadCloser, int64, error)
}

// MaterializerConfig is what a Materializer needs. The interfaces and Worker are
// required; zero values of the rest mean the documented defaults.
type MaterializerConfig struct {
	Materializations Materializations
	Code             Code
	// Worker lends its object storage, its limits and its deadlines.
	Worker *Worker

	// Wake receives a value when there may be something to do.
	Wake <-chan struct{}
	// Poll is how often it is asked for otherwise (default 1 s).
	Poll time.Duration
	// Concurrency is how many sets are worked on at once (default 2).
	Concurrency int

	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// A Materializer makes versions of policy sets that hold policies managed one
// by one, so that whatever consumes versions sees one kind of thing. It is safe
// for use by many goroutines, and on many nodes.
type Materializer struct {
	MaterializerConfig
	sets     lease.Loop[polset.Materialization]
	outcomes *prometheus.CounterVec
}

// NewMaterializer returns a materializer.
func NewMaterializer(c MaterializerConfig) (*Materializer, error) {
	if c.Materializations == nil || c.Code == nil || c.Worker == nil {
		return nil, errors.New("ingest: Materializations, Code and Worker are required")
	}
	orDefault(&c.Poll, time.Second)
	orDefault(&c.Concurrency, 2)
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	m := &Materializer{
		MaterializerConfig: c,
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_materializations_total",
			Help: "Versions made of policies managed one by one, by outcome; class is the error class of failed ones.",
		}, []string{"outcome", "class"}),
	}
	m.sets = lease.Loop[polset.Materialization]{
		Claim: func(ctx context.Context, n int) ([]polset.Materialization, error) {
			return c.Materializations.ClaimMaterializations(ctx, n, c.Worker.Lease)
		},
		Do: m.work, Most: c.Concurrency, Poll: c.Poll, Wake: c.Wake, Logger: c.Logger,
	}
	if err := register(c.Registerer, m.outcomes); err != nil {
		return nil, err
	}
	return m, nil
}

// Run makes the versions that are due until ctx ends.
func (m *Materializer) Run(ctx context.Context) { m.sets.Run(ctx) }

// Round makes the versions that are due now, at most Concurrency, and returns
// how many those were. The error is one of the rows.
func (m *Materializer) Round(ctx context.Context) (n int, err error) { return m.sets.Round(ctx) }

// work carries one set to its outcome, under its lease. It keeps its place for
// as long as a parser goes on, as a dry run does.
func (m *Materializer) work(ctx context.Context, claim polset.Materialization) error {
	start := time.Now()
	leased, _, stop := lease.Renewal{Rows: m.Materializations.RenewMaterializations, TTL: m.Worker.Lease, Logger: m.Logger}.
		Keep(ctx, []polset.Lease{claim.Lease})
	outcome, err := m.materialize(leased, claim)
	if ended := leftBehind(err); ended != nil {
		defer func() {
			select {
			case <-ended:
			case <-ctx.Done():
			}
		}()
	}
	lost := errors.Is(context.Cause(leased), polset.ErrFenced)
	// From here on a renewal could only disturb the row's last word.
	stop()

	log := m.Logger.With(
		zap.String("policy_set", claim.PolicySetID), zap.Int64("revision", claim.Revision),
		zap.Int64("lease", claim.Lease.Number), zap.Int("attempt", claim.Attempts+1))
	if err != nil {
		f := polset.FailureOf(err)
		log = log.With(zap.String("class", string(f.Class)), zap.Error(err))
		switch {
		case lost:
			log.Info("materialization passed to another worker")
			return nil
		case ctx.Err() != nil:
			outcome = polset.MaterializationOutcome{Again: true}
		case f.Retry && (f.Class != polset.ClassInternal || claim.Attempts+1 < min(m.Worker.retries.Attempts(f), maxCounted)):
			// Storage comes back; a fault of polset's own may not go away.
			outcome = polset.MaterializationOutcome{Again: true, Fault: true, After: m.wait(claim)}
		default:
			outcome.Failure = f
		}
	}

	rows, cancel := lease.LastWord(ctx)
	defer cancel()
	switch err := m.Materializations.SettleMaterialization(rows, claim, outcome); {
	case errors.Is(err, polset.ErrFenced):
		log.Info("materialization passed to another worker")
		return nil
	case err != nil:
		return fmt.Errorf("settle materialization of %s: %w", claim.PolicySetID, err)
	}
	m.tell(log.With(zap.Duration("elapsed", time.Since(start))), outcome)
	return nil
}

// maxCounted is how far the rows count attempts that ended in a fault.
const maxCounted = 20

// maxDoublings bounds the wait after a passing fault to some minutes: nobody
// else comes to ask again.
const maxDoublings = 7

func (m *Materializer) wait(claim polset.Materialization) time.Duration {
	return m.Worker.retries.Wait(min(claim.Attempts, maxDoublings), claim.PolicySetID, 0)
}

// tell logs and counts an outcome.
func (m *Materializer) tell(log *zap.Logger, o polset.MaterializationOutcome) {
	switch {
	case o.Again && o.Fault:
		log.Info("materialization to be tried again", zap.Duration("after", o.After))
	case o.Again:
		log.Info("materialization interrupted")
	case o.Artifact != nil:
		m.outcomes.WithLabelValues(string(polset.IngestionVersioned), "").Inc()
		log.Info("policies materialized", zap.String("digest", o.Artifact.Digest), zap.Int("policies", len(o.Artifact.Policies)))
	case o.Failure != nil:
		m.outcomes.WithLabelValues(string(polset.IngestionFailed), string(o.Failure.Class)).Inc()
		log.Info("policies errored")
	case o.Unchanged:
		m.outcomes.WithLabelValues(string(polset.IngestionUnchanged), "").Inc()
		log.Info("policies unchanged")
	default:
		m.outcomes.WithLabelValues(string(polset.IngestionIgnored), "").Inc()
		log.Info("policy set holds no policies")
	}
}

// materialize makes a stored archive of the policies. The outcome that it
// returns beside an error says what of the content was known by then.
func (m *Materializer) materialize(ctx context.Context, claim polset.Materialization) (o polset.MaterializationOutcome, err error) {
	defer func() {
		// A bug in a parser must cost its own set, not the server.
		if p := recover(); p != nil {
			err = lease.Panicked(p)
		}
	}()
	if len(claim.Policies) == 0 {
		return o, nil
	}
	root, err := m.gather(ctx, claim)
	if err != nil {
		return o, err
	}
	o.Content = polset.Content{Tree: treeID(root), Kind: claim.Kind}
	if repeats(claim.Newest, o.Content) {
		return polset.MaterializationOutcome{Unchanged: true}, nil
	}
	if err := allUploaded(claim.Policies); err != nil {
		return o, err
	}
	files := root.FS()
	set, err := policy.Read(files, "", claim.Kind) // a configuration that gather wrote
	if err != nil {
		return o, err
	}
	policies, err := m.Worker.inspect(ctx, set, files)
	if err != nil {
		return o, err
	}
	artifact, err := m.Worker.store(ctx, files)
	if err != nil {
		return o, err
	}
	artifact.Content, artifact.Policies = o.Content, policies
	o.Artifact = &artifact
	return o, nil
}

// allUploaded fails for policies that have no code: what they would say is not
// known, so that nothing may be enforced in their place.
func allUploaded(policies []polset.Policy) error {
	var without []string
	for _, p := range policies {
		if p.Digest == "" {
			without = append(without, p.Name)
		}
	}
	switch len(without) {
	case 0:
		return nil
	case 1:
		return polset.Fail(polset.ClassPolicyInvalid, "The policy %s has no code yet. Upload it, or remove the policy from the policy set.", without[0])
	}
	return polset.Fail(polset.ClassPolicyInvalid, "The policies %s have no code yet. Upload it, or remove them from the policy set.", strings.Join(without, ", "))
}

// gather reads the code of the policies, and returns a directory that holds it
// beside the configuration that names it.
func (m *Materializer) gather(ctx context.Context, claim polset.Materialization) (*archive.Node, error) {
	defer m.Worker.timed("fetch")()
	stage, cancel := context.WithTimeout(ctx, m.Worker.StoreTimeout)
	defer cancel()
	name, config, err := policy.Compose(claim.Kind, claim.Policies)
	if err != nil {
		return nil, err
	}
	root := &archive.Node{Mode: archive.ModeDirectory}
	root.Place(name, &archive.Node{Mode: archive.ModeFile, Data: config})
	limits := m.Worker.Limits.OrDefaults()
	var size int64
	for _, p := range claim.Policies {
		// Before it is held in memory; the archive is measured once more.
		if size += p.Size; size > limits.Bytes {
			return nil, polset.Fail(polset.ClassLimit,
				"The policies are larger than %d bytes together, the limit that POLSET_MAX_ARCHIVE_BYTES sets. Take some out of the policy set.", limits.Bytes)
		}
		if p.Digest == "" {
			continue
		}
		code, err := m.read(stage, p)
		if err != nil {
			return nil, deadline(ctx, stage, err, "read the code of the policies from the object storage", m.Worker.StoreTimeout)
		}
		root.Place(p.File(), &archive.Node{Mode: archive.ModeFile, Data: code})
	}
	return root, nil
}

// read returns the code of a policy. The storage verifies it.
func (m *Materializer) read(ctx context.Context, p polset.Policy) (code []byte, err error) {
	r, _, err := m.Code.Open(ctx, p.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &polset.Failure{
			Class: polset.ClassStorage, Err: err,
			Message: fmt.Sprintf("The code of the policy %s is no longer in the object storage. Upload it again.", p.Name),
		}
	}
	if err == nil {
		code, err = io.ReadAll(r)
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		return nil, storageFailure("The object storage did not give out the code of the policy "+p.Name+"; polset's log says why.", err)
	}
	return code, nil
}

// treeID is the id that git would give a directory of files, in its SHA-256
// object format.
func treeID(dir *archive.Node) string {
	object := func(kind string, content []byte) [sha256.Size]byte {
		return sha256.Sum256(append(fmt.Appendf(nil, "%s %d\x00", kind, len(content)), content...))
	}
	files := slices.SortedFunc(slices.Values(dir.Children), func(a, b *archive.Node) int { return cmp.Compare(a.Name, b.Name) })
	var tree bytes.Buffer
	for _, f := range files {
		blob := object("blob", f.Data)
		fmt.Fprintf(&tree, "100644 %s\x00%s", f.Name, blob[:])
	}
	id := object("tree", tree.Bytes())
	return hex.EncodeToString(id[:])
}
