package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/polset/polset"
)

// A hook is where a request arrived, and how its secrets are found.
type hook struct {
	label    string // of the metrics and the log
	id       string
	httpURLs []string
	closed   error // why it takes no request at all
	// secrets are asked for before the body is read, and others when none of
	// them has signed it; nil: there are no others.
	secrets func(context.Context) ([]polset.Secret, error)
	others  func(context.Context) ([]polset.Secret, error)
}

// app receives what is signed with the operator's own secrets, or with that of
// the stored App.
func (r *Receiver) app(c echo.Context) error {
	h := hook{label: "app", id: polset.HookGitHubApp, httpURLs: r.httpURLs}
	known, err := r.appSecrets.known(c.Request().Context())
	h.closed = err
	h.secrets = func(context.Context) ([]polset.Secret, error) { return known, nil }
	h.others = r.appSecrets.again
	return r.receive(c, h)
}

// repository receives what is signed with the secret of one repository.
func (r *Receiver) repository(c echo.Context) error {
	h := hook{label: "repository", id: canonicalUUID(c.Param("id"))}
	if h.id == "" {
		h.closed = noHook(nil) // not worth a look into the database
	}
	h.secrets = func(ctx context.Context) ([]polset.Secret, error) { return r.ownSecrets(ctx, h.id) }
	return r.receive(c, h)
}

func (r *Receiver) ownSecrets(ctx context.Context, id string) ([]polset.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, r.answerTimeout)
	defer cancel()
	own, err := r.recorder.Hook(ctx, id)
	switch {
	case errors.Is(err, polset.ErrNotFound):
		return nil, noHook(err)
	case err != nil:
		return nil, notLookedUp(err)
	case !usable(own.Secrets):
		return nil, unavailable(noSecret, errors.New("the hook has no secret"))
	}
	return own.Secrets, nil
}

// noSecret is what the answer says of a hook that nobody can sign for.
const noSecret = "this hook has no secret yet"

func notLookedUp(cause error) *refusal {
	return unavailable("polset could not look the hook up: deliver again later", cause)
}

// noHook is the one answer for a hook that does not exist and for a repository
// that is not the hook's.
func noHook(cause error) *refusal {
	return refuse(http.StatusNotFound, codeNotFound, "there is no such hook for this repository").because(cause)
}

// receive walks one request from the wire to its answer, and logs and counts
// what became of it.
func (r *Receiver) receive(c echo.Context, h hook) error {
	began := r.now()
	n := &note{hook: h.label}
	a, err := r.deliver(c.Response(), c.Request(), h, n, began)

	status, outcome := a.code(), a.Status
	var refused *refusal
	if err != nil {
		refused = asRefusal(err)
		status, outcome = refused.status, refused.code
	}
	elapsed := r.now().Sub(began)
	r.metrics.deliveries.WithLabelValues(h.label, outcome).Inc()
	r.metrics.seconds.WithLabelValues(h.label).Observe(elapsed.Seconds())
	n.write(r.log, status, outcome, a, err, elapsed)

	if refused != nil {
		return refused.write(c)
	}
	return c.JSON(status, a)
}

// deliver is the order of the checks: the cheap ones, which need neither
// memory nor the database, come first; nothing of the body is looked at before
// its signature was verified; the answer follows the commit.
func (r *Receiver) deliver(w http.ResponseWriter, req *http.Request, h hook, n *note, received time.Time) (answer, error) {
	n.guid, n.event = deliveryGUID(req.Header), eventName(req.Header)

	in, err := r.authenticate(w, req, h)
	if err != nil {
		return answer{}, err
	}
	if n.guid == "" {
		in.release()
		return answer{}, refuse(http.StatusBadRequest, codeMalformed, "X-GitHub-Delivery must be one uuid")
	}
	if n.event == "" {
		in.release()
		return answer{}, refuse(http.StatusBadRequest, codeMalformed, "X-GitHub-Event must name one event")
	}
	sum := sha256.Sum256(in.bytes)
	n.meaning, err = read(n.event, in.bytes)
	in.release() // the meaning holds copies only: the memory is free while the database works
	if err != nil {
		return answer{}, err
	}
	httpURLs := n.meaning.heardBy(h)

	return r.record(req.Context(), n.meaning, polset.Delivery{
		HookID:     h.id,
		GUID:       n.guid,
		Event:      n.event,
		BodySHA256: hex.EncodeToString(sum[:]),
		Sender:     n.meaning.sender,
		HTTPURLs:   httpURLs,
		ReceivedAt: received.UTC(),
	})
}

// authenticate returns a body that one of the hook's secrets signed. The
// caller releases it.
func (r *Receiver) authenticate(w http.ResponseWriter, req *http.Request, h hook) (*body, error) {
	// A body that dribbles is cut even where the server has no timeout of its
	// own; net/http lifts the deadline at the body's end. Writers that know no
	// deadlines belong to tests without a network.
	deadline := time.Now().Add(r.bodyTimeout)
	if err := http.NewResponseController(w).SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, refuse(http.StatusBadRequest, codeMalformed, "the connection is gone").because(err)
	}
	// Until the body was read, keeping the connection would mean to read it.
	w.Header().Set("Connection", "close")

	if h.closed != nil {
		return nil, h.closed
	}
	if err := plainJSON(req.Header); err != nil {
		return nil, refuse(http.StatusUnsupportedMediaType, codeUnsupported, err.Error())
	}
	if req.ContentLength > r.maxBody {
		return nil, tooLarge(r.maxBody)
	}
	mac, err := signature(req.Header)
	if err != nil {
		return nil, refuse(http.StatusUnauthorized, codeUnauthorized, err.Error())
	}
	secrets, err := h.secrets(req.Context())
	if err != nil {
		return nil, err
	}
	in, err := r.buffers.read(req.Body)
	if err != nil {
		return nil, err
	}
	w.Header().Del("Connection")
	ok := signed(in.bytes, mac, secrets)
	if !ok && h.others != nil {
		// A sender that closed its half of the connection still reads the answer;
		// the reading has a deadline of its own.
		if secrets, err = h.others(context.WithoutCancel(req.Context())); err != nil {
			in.release()
			return nil, err
		}
		ok = signed(in.bytes, mac, secrets)
	}
	if !ok {
		in.release()
		return nil, refuse(http.StatusUnauthorized, codeUnauthorized, "the signature does not match: the webhook's secret and the one that polset knows differ")
	}
	return in, nil
}

// record commits a delivery. GitHub does not deliver again by itself, so a
// sender who hangs up does not stop it.
func (r *Receiver) record(ctx context.Context, m meaning, d polset.Delivery) (answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.answerTimeout)
	defer cancel()
	var receipt polset.Receipt
	var err error
	switch {
	case m.push != nil:
		receipt, err = r.recorder.RecordPush(ctx, d, *m.push)
	case m.pull != nil:
		receipt, err = r.lifecycle.RecordPullRequest(ctx, d, *m.pull)
	case m.repository != nil:
		receipt, err = r.lifecycle.RecordRepository(ctx, d, *m.repository)
	case m.installation != nil:
		receipt, err = r.lifecycle.RecordInstallation(ctx, d, *m.installation)
	default:
		receipt, err = r.recorder.RecordIgnored(ctx, d, m.ignored)
		if receipt.Ignored == "" {
			receipt.Ignored = m.ignored
		}
	}
	switch {
	case errors.Is(err, polset.ErrNotFound):
		return answer{}, noHook(err)
	case err != nil:
		return answer{}, err
	}
	a := answerFor(d.GUID, receipt)
	a.begun = m.push != nil && a.Status == statusAccepted
	return a, nil
}

// A note gathers what the log says of a request. Everything in it is either
// polset's own or was made printable.
type note struct {
	hook    string
	guid    string
	event   string
	meaning meaning
}

func (n *note) write(log *zap.Logger, status int, outcome string, a answer, err error, elapsed time.Duration) {
	fields := []zap.Field{
		zap.String("hook", n.hook),
		zap.String("delivery", n.guid),
		zap.String("event", n.event),
		zap.Int("status", status),
		zap.String("outcome", outcome),
		zap.Duration("elapsed", elapsed),
	}
	for _, fact := range []zap.Field{
		zap.String("action", n.meaning.action),
		zap.String("account", n.meaning.account),
		zap.String("repo", n.meaning.repo),
		zap.String("ref", n.meaning.ref),
		zap.String("commit", n.meaning.commit),
		zap.String("sender", n.meaning.sender),
	} {
		if fact.String != "" {
			fields = append(fields, fact)
		}
	}
	if a.Reason != "" {
		fields = append(fields, zap.String("reason", a.Reason))
	}
	if a.Effect != "" {
		fields = append(fields, zap.String("effect", a.Effect))
	}
	if len(a.Ingestions) > 0 {
		fields = append(fields, zap.Strings("ingestions", a.Ingestions))
	}
	level := zapcore.InfoLevel
	if err != nil {
		fields = append(fields, zap.Error(err))
	}
	if status >= http.StatusInternalServerError {
		level = zapcore.ErrorLevel
	}
	log.Log(level, "webhook delivery", fields...)
}
