package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/lease"
)

// Uploads gives out the right to work on the upload of a version.
type Uploads interface {
	// ClaimUpload moves a version that waits for an upload to ingressing and
	// leases its ingestion. It answers ErrConflict where the version waits for
	// none, or where somebody else works on one.
	ClaimUpload(ctx context.Context, by polset.Principal, versionID string, ttl time.Duration) (polset.Claim, error)
	// Version returns a version.
	Version(ctx context.Context, by polset.Principal, id string) (polset.Version, error)
}

// UploaderConfig is what an Uploader needs. Worker and Uploads are required;
// zero values of the rest mean the documented defaults.
type UploaderConfig struct {
	// Worker lends its stages, its limits and its storage: an upload goes the
	// way of a commit from the file system onwards.
	Worker  *Worker
	Uploads Uploads

	// AtOnce bounds the uploads that are worked on (default 4), and with them
	// the memory: each holds its files, up to the limit of an archive. One
	// organization leaves a place to others, where there is more than one.
	AtOnce int
	// Patience is how long an upload waits for its turn (default 30 s).
	Patience time.Duration
}

// An Uploader carries uploads into versions while their clients wait. It is
// safe for use by many goroutines.
type Uploader struct {
	worker   *Worker
	uploads  Uploads
	patience time.Duration
	places   chan struct{} // holds a value for each upload that is worked on
	shares   shares        // of the places, by organization

	stopping context.Context //nolint:containedctx // ends with Close
	stop     context.CancelFunc
	mu       sync.Mutex // of closed, and of what begins
	closed   bool
	working  sync.WaitGroup
}

// NewUploader returns an uploader; Close ends it.
func NewUploader(c UploaderConfig) (*Uploader, error) {
	if c.Worker == nil || c.Uploads == nil {
		return nil, errors.New("ingest: Worker and Uploads are required")
	}
	orDefault(&c.AtOnce, 4)
	orDefault(&c.Patience, 30*time.Second)
	u := &Uploader{worker: c.Worker, uploads: c.Uploads, patience: c.Patience, places: make(chan struct{}, c.AtOnce), shares: newShares(max(1, c.AtOnce-1))}
	u.stopping, u.stop = context.WithCancel(context.Background())
	return u, nil
}

// Close interrupts what is being worked on, which its clients may send again,
// and waits for it.
func (u *Uploader) Close() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.stop()
	u.working.Wait()
}

// Upload carries an archive into a version that waits for one, and returns the
// version once it is ready or errored. From the claim on it goes on when ctx
// ends: all bytes are there. An error of the content is the version's. The
// error is ErrConflict where the version waits for no upload, ErrNotFound where
// it is gone, and otherwise a *polset.Failure after which the same may be sent
// again.
func (u *Uploader) Upload(ctx context.Context, by polset.Principal, versionID string, body io.Reader) (polset.Version, error) {
	if !u.begin() {
		return polset.Version{}, interrupted()
	}
	defer u.working.Done()
	leave, err := u.wait(ctx, by)
	if err != nil {
		return polset.Version{}, err
	}
	var left <-chan struct{} // a parser that goes on
	defer func() {
		go func() {
			u.worker.leave(u.stopping.Done(), left)
			leave()
		}()
	}()

	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(u.stopping, cancel)()
	claim, err := u.uploads.ClaimUpload(ctx, by, versionID, u.worker.Lease)
	if err != nil {
		return polset.Version{}, rowsAway(fmt.Errorf("claim upload: %w", err))
	}
	left, err = u.work(ctx, claim, body)
	if errors.Is(err, polset.ErrFenced) {
		return u.fenced(ctx, versionID)
	}
	if err != nil {
		return polset.Version{}, rowsAway(err)
	}
	rows, done := lease.LastWord(ctx)
	defer done()
	v, err := u.uploads.Version(rows, polset.System, versionID)
	if err != nil {
		return polset.Version{}, rowsAway(err)
	}
	return v, nil
}

// begin says whether another upload may be worked on.
func (u *Uploader) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.closed {
		u.working.Add(1)
	}
	return !u.closed
}

// wait waits for a place in the organization's share, and then for one of all,
// so that whoever uploads a lot waits behind itself. It returns what gives both
// back.
func (u *Uploader) wait(ctx context.Context, by polset.Principal) (leave func(), err error) {
	patience := time.NewTimer(u.patience)
	defer patience.Stop()
	tenant := by.OrganizationID
	if by.SiteAdmin() {
		tenant = by.Actor
	}
	share, forget := u.shares.of(tenant)
	if err := u.enter(ctx, share, patience); err != nil {
		forget()
		return nil, err
	}
	if err := u.enter(ctx, u.places, patience); err != nil {
		<-share
		forget()
		return nil, err
	}
	return func() {
		<-u.places
		<-share
		forget()
	}, nil
}

func (u *Uploader) enter(ctx context.Context, places chan<- struct{}, patience *time.Timer) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a place: %w", ctx.Err())
	case <-u.stopping.Done():
		return interrupted()
	case <-patience.C:
		return &polset.Failure{
			Class: polset.ClassLimit, Retry: true, RetryAfter: 5 * time.Second,
			Message: fmt.Sprintf("polset works on %d uploads at once, and their turn takes its time. Send this one again later.", cap(u.places)),
		}
	}
}

// work carries an upload to its outcome under its lease. The error is one to
// send the same again after, or ErrFenced.
func (u *Uploader) work(ctx context.Context, claim polset.Claim, body io.Reader) (left <-chan struct{}, err error) {
	start := time.Now()
	_, tasks, stop := u.worker.lease(ctx, []polset.Claim{claim})
	defer stop()
	t := tasks[0]
	if silent := claim.Ingestion.Attempts - 1 - claim.Ingestion.Failures; silent >= u.worker.MaxCrashes {
		return nil, u.conclude(t, polset.Artifact{}, gaveUp(silent))
	}
	artifact, err := u.make(t.Ctx, claim.Ingestion.Kind, body)
	left = leftBehind(err)
	if err == nil {
		if err = u.worker.Versions.Finish(t.Ctx, t.Lease, artifact); err == nil {
			t.Done()
			u.worker.outcomes.WithLabelValues(string(polset.IngestionVersioned), "").Inc()
			u.worker.Logger.Info("version ready", append(u.worker.facts(t),
				zap.String("version", claim.Ingestion.VersionID), zap.String("digest", artifact.Digest),
				zap.Int64("size", artifact.Size), zap.Int("files", artifact.Files),
				zap.Duration("elapsed", time.Since(start)))...)
			return left, nil
		}
	}
	return left, u.conclude(t, artifact, err)
}

// make turns an upload into a stored archive.
func (u *Uploader) make(ctx context.Context, kind polset.Kind, body io.Reader) (artifact polset.Artifact, err error) {
	defer func() {
		// A bug in a parser must cost its own upload, not the server.
		if p := recover(); p != nil {
			err = lease.Panicked(p)
		}
	}()
	return u.worker.build(ctx, &uploaded{body: body, limits: u.worker.Limits}, polset.Content{Kind: kind})
}

// conclude writes down what an error means for an upload: an errored version,
// or one that may be uploaded again, which is the error that it returns.
func (u *Uploader) conclude(t task, artifact polset.Artifact, err error) error {
	defer t.Done()
	if errors.Is(err, polset.ErrFenced) || errors.Is(context.Cause(t.Ctx), polset.ErrFenced) {
		u.worker.Logger.Info("upload passed to another worker", u.worker.facts(t)...)
		return polset.ErrFenced
	}
	f := polset.FailureOf(err)
	log := u.worker.Logger.With(u.worker.facts(t)...).With(zap.String("class", string(f.Class)), zap.Error(err))
	rows, cancel := lease.LastWord(t.Ctx)
	defer cancel()
	switch {
	case t.Ctx.Err() != nil:
		log.Info("upload interrupted")
		u.release(rows, t, "")
		return interrupted()
	case f.Retry && !u.final(t, f):
		log.Info("upload to be sent again")
		u.release(rows, t, fmt.Sprintf("%s: %s", f.Class, f.Message))
		return f
	}
	if err := u.worker.Versions.Fail(rows, t.Lease, f, artifact.Content); err != nil {
		return fmt.Errorf("fail upload: %w", err)
	}
	log.Info("version errored")
	u.worker.outcomes.WithLabelValues(string(polset.IngestionFailed), string(f.Class)).Inc()
	return nil
}

// final says whether a fault that may pass has not passed for so long that it
// will not. How long to wait for the storage is for the client to decide.
func (u *Uploader) final(t task, f *polset.Failure) bool {
	return f.Class != polset.ClassStorage && t.Ingestion.Failures+1 >= u.worker.retries.Attempts(f)
}

// release lets the same be sent again at once. Where the rows are out of reach,
// that has to wait for the end of the lease.
func (u *Uploader) release(ctx context.Context, t task, reason string) {
	if err := u.worker.Ledger.Release(ctx, t.Lease, 0, reason); err != nil && !errors.Is(err, polset.ErrFenced) {
		u.worker.Logger.Warn("release upload", append(u.worker.facts(t), zap.Error(err))...)
	}
}

// fenced says what became of a version while it was worked on.
func (u *Uploader) fenced(ctx context.Context, versionID string) (polset.Version, error) {
	rows, done := lease.LastWord(ctx)
	defer done()
	if _, err := u.uploads.Version(rows, polset.System, versionID); err != nil {
		return polset.Version{}, rowsAway(err)
	}
	return polset.Version{}, fmt.Errorf("the upload of version %s was taken over: %w", versionID, polset.ErrConflict)
}

// rowsAway makes of an error of the rows one that may pass.
func rowsAway(err error) error {
	var f *polset.Failure
	if errors.Is(err, polset.ErrNotFound) || errors.Is(err, polset.ErrConflict) || errors.As(err, &f) {
		return err
	}
	return &polset.Failure{Class: polset.ClassInternal, Retry: true, Err: err, Message: "polset's database did not answer. Send the same again later."}
}

func interrupted() error {
	return &polset.Failure{Class: polset.ClassInternal, Retry: true, Message: "polset is being stopped. Send the same again in a moment."}
}

// uploaded is an upload in the place of a commit.
type uploaded struct {
	body   io.Reader
	limits archive.Limits
	files  fs.FS // once it was read
}

// Resolve implements Contents: an upload has no ids.
func (s *uploaded) Resolve(_ context.Context, want polset.Content) (polset.Content, error) {
	return want, nil
}

// Fetch implements Contents.
func (s *uploaded) Fetch(ctx context.Context, _ polset.Content) (files fs.FS, err error) {
	if s.files == nil {
		s.files, err = archive.Read(ctx, s.body, s.limits)
	}
	return s.files, err
}
