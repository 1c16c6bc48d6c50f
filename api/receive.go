package api

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

const (
	// longestUpload is how long the bytes of one upload may take, however
	// steadily they come.
	longestUpload = time.Hour
	// answerTime is what is left for the answer once the work on an upload is
	// over.
	answerTime = time.Minute
)

// An upload is a request's body in a spool file, which is at its beginning.
type upload struct {
	*os.File
	size   int64
	digest string // the sha256 in hex
	leave  func() // gives its place back
}

// receive spools the body of a request, which may take as long as it needs
// while bytes keep coming. One of more than limit bytes, which people know by
// the name of its setting or as a round number, is refused, before it is read where
// its length was told. Nothing is kept of what does not come to its end. The
// upload counts as its sender's until the caller gives it back to discard.
//
// From here on the deadlines of the server do not bound the request any more,
// except for the answer.
func (a *API) receive(r *request, limit int64, known string) (_ *upload, err error) {
	req := r.Request()
	if enc := req.Header.Get(echo.HeaderContentEncoding); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, problem{Status: http.StatusUnsupportedMediaType, Title: "unsupported media type", Detail: "Send the file as it is, without a Content-Encoding."}
	}
	if req.ContentLength > limit {
		return nil, tooLarge(limit, known)
	}
	leave, err := a.receiving.take(r.by)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(a.SpoolDir, "upload-*")
	if err != nil {
		leave()
		return nil, noRoom(err)
	}
	u := &upload{File: file, leave: leave}
	defer func() {
		if err != nil {
			a.discard(u)
		}
	}()
	control := http.NewResponseController(r.Response())
	began := time.Now()
	body := steady{
		Reader:  http.MaxBytesReader(r.Response(), req.Body, limit),
		control: control, idle: a.UploadIdle, until: began.Add(longestUpload),
	}
	if err := extend(control.SetWriteDeadline, time.Time{}); err != nil {
		return nil, err
	}
	hash := sha256.New()
	if u.size, err = io.Copy(io.MultiWriter(spool{file}, hash), body); err != nil {
		return nil, a.unreceived(err, limit, known)
	}
	u.digest = hex.EncodeToString(hash.Sum(nil))
	if err := extend(control.SetReadDeadline, time.Time{}); err != nil {
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, noRoom(err)
	}
	return u, nil
}

// answerSoon bounds the answer to an upload: the work took as long as it
// needed, the answer may not.
func answerSoon(r *request) error {
	return extend(http.NewResponseController(r.Response()).SetWriteDeadline, time.Now().Add(answerTime))
}

// discard removes the spool file of an upload, and with it what it counts for.
func (a *API) discard(u *upload) {
	defer u.leave()
	if err := errors.Join(u.Close(), os.Remove(u.Name())); err != nil {
		a.Logger.Warn("remove spool file", zap.Error(err))
	}
}

// unreceived says why an upload did not come to its end.
func (a *API) unreceived(err error, limit int64, known string) error {
	var large *http.MaxBytesError
	var full spoolError
	switch {
	case errors.As(err, &large):
		return tooLarge(limit, known)
	case errors.As(err, &full):
		return noRoom(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem{
			Status: http.StatusRequestTimeout, Title: "request timeout",
			Detail: fmt.Sprintf("Nothing came for %s, or the upload took longer than %s. Nothing was kept; upload it again.", a.UploadIdle, longestUpload),
		}
	}
	return problem{Status: http.StatusBadRequest, Title: "bad request", Detail: "The upload ended early. Nothing was kept; upload it again."}
}

func tooLarge(limit int64, known string) problem {
	return problem{
		Status: http.StatusRequestEntityTooLarge, Title: "payload too large",
		Detail: fmt.Sprintf("The upload must not exceed %d bytes (%s). Nothing was kept.", limit, known),
	}
}

func noRoom(err error) error {
	return &polset.Failure{
		Class: polset.ClassStorage, Retry: true, Err: err,
		Message: "polset could not write its spool directory; its operator must make room.",
	}
}

// steady reads a body that keeps coming: each read has a deadline of its own,
// and all have a common one.
type steady struct {
	io.Reader
	control *http.ResponseController
	idle    time.Duration
	until   time.Time
}

func (s steady) Read(p []byte) (int, error) {
	next := time.Now().Add(s.idle)
	if next.After(s.until) {
		next = s.until
	}
	if err := extend(s.control.SetReadDeadline, next); err != nil {
		return 0, err
	}
	return s.Reader.Read(p)
}

// extend sets a deadline, on connections that have any.
func extend(set func(time.Time) error, to time.Time) error {
	if err := set(to); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("set deadline: %w", err)
	}
	return nil
}

// A spool tells the errors of its file from those of what is copied to it.
type spool struct{ file *os.File }

func (s spool) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	if err != nil {
		err = spoolError{err}
	}
	return n, err
}

type spoolError struct{ error }

// Unwrap returns the error of the file.
func (e spoolError) Unwrap() error { return e.error }
