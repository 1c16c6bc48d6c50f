package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/polset/polset"
)

// maxPolicyCode is HCP Terraform's limit.
const maxPolicyCode = 10 << 20

// uploadPolicy keeps the code of a policy, which may be empty: the bytes before
// the row that points to them.
func (a *API) uploadPolicy(r *request) error {
	id := r.Param("policy")
	if _, err := a.Policies.Policy(r.ctx(), r.by, id); err != nil {
		return err
	}
	if given := r.Request().Header.Get(echo.HeaderContentType); given != "" {
		if kind, _, err := mime.ParseMediaType(given); err != nil || kind != echo.MIMEOctetStream {
			return problem{Status: http.StatusUnsupportedMediaType, Title: "unsupported media type", Detail: "The Content-Type must be " + echo.MIMEOctetStream + ", and the body the text of the policy."}
		}
	}
	code, err := a.receive(r, maxPolicyCode, "10 MB")
	if err != nil {
		return errors.Join(err, boundAnswer(r))
	}
	defer a.discard(code)
	p, err := a.keepCode(r, id, code)
	if err := errors.Join(err, boundAnswer(r)); err != nil {
		return err
	}
	return r.send(http.StatusOK, single(policyResource(p)))
}

func (a *API) keepCode(r *request, id string, code *upload) (polset.Policy, error) {
	if err := a.Objects.Put(r.ctx(), code.digest, code.size, code); err != nil {
		return polset.Policy{}, &polset.Failure{
			Class: polset.ClassStorage, Retry: true, Message: "The object storage does not take the code at the moment; nothing was kept. Try again.",
			Err: fmt.Errorf("store the code of policy %s: %w", id, err),
		}
	}
	return a.Policies.UploadPolicy(r.ctx(), r.by, id, code.digest, code.size)
}

// downloadPolicy streams the code of a policy.
func (a *API) downloadPolicy(r *request) (err error) {
	p, err := a.Policies.Policy(r.ctx(), r.by, r.Param("policy"))
	if err != nil {
		return err
	}
	if p.Digest == "" {
		return polset.ErrNotFound // nothing was uploaded yet
	}
	code, size, err := a.Objects.Open(r.ctx(), p.Digest)
	if err != nil {
		return fmt.Errorf("open the code of policy %s: %w", p.ID, err)
	}
	defer func() { err = errors.Join(err, code.Close()) }()
	header := r.Response().Header()
	header.Set(echo.HeaderContentType, echo.MIMEOctetStream)
	header.Set(echo.HeaderContentLength, strconv.FormatInt(size, 10))
	header.Set(echo.HeaderContentDisposition, `attachment; filename="`+p.File()+`"`)
	r.Response().WriteHeader(http.StatusOK)
	if _, err := io.Copy(r.Response(), code); err != nil {
		// The client sees fewer bytes than Content-Length promised.
		return fmt.Errorf("stream the code of policy %s: %w", p.ID, err)
	}
	return nil
}
