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
	p, err := a.takeCode(r, id)
	if err := errors.Join(err, answerSoon(r)); err != nil {
		return err
	}
	return r.send(http.StatusOK, single(policyResource(p)))
}

// takeCode carries a body into the policy.
func (a *API) takeCode(r *request, id string) (polset.Policy, error) {
	if err := checkCode(r); err != nil {
		return polset.Policy{}, err
	}
	u, err := a.receive(r, maxPolicyCode, "10 MB")
	if err != nil {
		return polset.Policy{}, err
	}
	defer a.discard(u)
	// The bytes may have taken long enough for the token to be revoked.
	if r.by, err = a.standing(r, r.by.Actor); err != nil {
		return polset.Policy{}, err
	}
	if err := a.Objects.Put(r.ctx(), u.digest, u.size, u); err != nil {
		return polset.Policy{}, &polset.Failure{
			Class: polset.ClassStorage, Retry: true, Message: "The object storage does not take the code at the moment; nothing was kept. Try again.",
			Err: fmt.Errorf("store the code of policy %s: %w", id, err),
		}
	}
	return a.Policies.UploadPolicy(r.ctx(), r.by, id, u.digest, u.size)
}

// checkCode judges how a request tells that its body is a policy's code.
func checkCode(r *request) error {
	given := r.Request().Header.Get(echo.HeaderContentType)
	if kind, _, err := mime.ParseMediaType(given); given != "" && (err != nil || kind != echo.MIMEOctetStream) {
		return problem{Status: http.StatusUnsupportedMediaType, Title: "unsupported media type", Detail: "The Content-Type must be " + echo.MIMEOctetStream + ", and the body the text of the policy."}
	}
	return nil
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
