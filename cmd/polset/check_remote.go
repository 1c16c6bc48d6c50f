package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/polset/polset"
)

// checkRemote is how a server is asked.
type checkRemote struct {
	Address      string `env:"POLSET_ADDRESS" placeholder:"URL" help:"The server, such as https://polset.example.com. Without it, that in TFE_ADDRESS."`
	Token        string `env:"POLSET_TOKEN" placeholder:"TOKEN" help:"An API token that may create runs. Better in the environment than on a command line. Of the server in TFE_ADDRESS, also in TFE_TOKEN."`
	Organization string `env:"POLSET_ORGANIZATION,TFE_ORGANIZATION" placeholder:"NAME" help:"The organization of a workspace that is given by its name alone."`
	Message      string `placeholder:"TEXT" default:"polset check" help:"What the run is about, such as a commit or a pull request (${default})."`
}

// A workspaceName is how a workspace is given: by its id, or by its name and
// its organization's.
type workspaceName struct{ id, organization, name string }

var workspaceID = regexp.MustCompile(`^ws-[A-Za-z0-9]{16}$`)

func (k *checkRemote) workspace(given string) (workspaceName, error) {
	organization, name, both := strings.Cut(given, "/")
	switch {
	case workspaceID.MatchString(given):
		return workspaceName{id: given}, nil
	case !both:
		organization, name = k.Organization, given
	}
	if organization == "" || name == "" || strings.Contains(name, "/") {
		return workspaceName{}, fmt.Errorf("--workspace %s: give the id of a workspace (ws-…), ORGANIZATION/NAME, or a name and --organization", given)
	}
	return workspaceName{organization: organization, name: name}, nil
}

// settle judges what kong cannot.
func (k *checkRemote) settle(workspace string) error {
	if _, err := k.workspace(workspace); err != nil {
		return err
	}
	given := k.Address
	if given == "" {
		k.Address = os.Getenv(tfeAddress)
	}
	if k.Address == "" {
		return errors.New("--workspace needs the server's address: --address, or POLSET_ADDRESS")
	}
	var err error
	if k.Address, err = serverAddress("--address", k.Address); err != nil {
		return err
	}
	return k.settleToken(given != "")
}

// The environment of other clients of the API.
const (
	tfeAddress = "TFE_ADDRESS"
	tfeToken   = "TFE_TOKEN" // #nosec G101 -- a name
)

// settleToken finds the token, which goes to no server but its own: one
// environment may name two servers, such as polset and HCP Terraform, each with a
// token. own says that the address is not that of TFE_ADDRESS.
func (k *checkRemote) settleToken(own bool) error {
	of := os.Getenv("POLSET_TOKEN")
	if !own && k.Token == of { // it was not on the command line
		k.Token = ""
	}
	tfe, err := serverAddress(tfeAddress, os.Getenv(tfeAddress))
	if k.Token == "" && err == nil && tfe == k.Address {
		k.Token = os.Getenv(tfeToken)
	}
	switch {
	case k.Token != "":
		return nil
	case !own && of != "":
		return errors.New("POLSET_TOKEN does not go to the server in TFE_ADDRESS, whose token is in TFE_TOKEN: give the server of POLSET_TOKEN in POLSET_ADDRESS, or with --address")
	}
	return errors.New("--workspace needs a token in POLSET_TOKEN")
}

// serverAddress is the address of a server, without what everybody knows.
func serverAddress(name, text string) (string, error) {
	address, err := checkBaseURL(name, text)
	return strings.TrimSuffix(address, apiPath), err
}

// remoteCheck is one plan's way through a server.
type remoteCheck struct {
	*checkClient

	progress *progress
	message  string
	report   report
}

// check uploads the plan, waits for the run's checks and collects what they
// say. A run that nobody waits for any longer is cancelled.
func (k *checkRemote) check(ctx context.Context, workspace, plan string, progress *progress) (report, error) {
	at, err := k.workspace(workspace)
	if err != nil {
		return report{Plan: plan}, err
	}
	c := &remoteCheck{
		checkClient: newCheckClient(k.Address, polset.NewSecret(k.Token), progress.say),
		progress:    progress, message: k.Message, report: report{Plan: plan},
	}
	err = c.follow(ctx, at, plan)
	if err != nil && ctx.Err() != nil {
		err = c.abandon(context.WithoutCancel(ctx), context.Cause(ctx))
	}
	return c.report, err
}

func (c *remoteCheck) follow(ctx context.Context, workspace workspaceName, plan string) error {
	upload, err := packPlan(ctx, plan)
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(upload.Close(), os.Remove(upload.Name())) }() // nothing depends on it
	run := &reportRun{}
	if err := c.findWorkspace(ctx, workspace, run); err != nil {
		return err
	}
	if err := c.upload(ctx, run, upload); err != nil {
		return err
	}
	if err := c.createRun(ctx, run); err != nil {
		return err
	}
	c.report.Run = run
	for tries := 1; ; tries++ {
		if err := c.wait(ctx, run); err != nil {
			return err
		}
		c.progress.say("reading what the policy sets say")
		if err := c.collect(ctx); err != nil {
			return err
		}
		// Somebody may have overridden, or discarded, between two answers.
		if err := c.consistent(); err == nil || tries == maxLooks {
			return err
		}
	}
}

// maxLooks is how often a run is read whose parts do not fit.
const maxLooks = 3

// packPlan makes the upload in a file, so that it can be sent again.
func packPlan(ctx context.Context, name string) (upload *os.File, err error) {
	p, err := openPlan(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if upload, err = spoolFile(); err != nil {
		return nil, err
	}
	if err := p.pack(ctx, upload); err != nil {
		return nil, errors.Join(err, upload.Close(), os.Remove(upload.Name()))
	}
	return upload, nil
}

// findWorkspace learns the workspace's id and names.
func (c *remoteCheck) findWorkspace(ctx context.Context, given workspaceName, run *reportRun) error {
	path, shown := "/workspaces/"+url.PathEscape(given.id), given.id
	if given.id == "" {
		path = "/organizations/" + url.PathEscape(given.organization) + "/workspaces/" + url.PathEscape(given.name)
		shown = given.organization + "/" + given.name
	}
	c.progress.say("looking for the workspace " + shown)
	var answer struct {
		Data wireResource[struct {
			Name string `json:"name"`
		}] `json:"data"`
	}
	err := c.get(ctx, path, &answer)
	switch {
	case answered(err, http.StatusNotFound):
		return fmt.Errorf("there is no workspace %s, or the token may not see it", shown)
	case err != nil:
		return fmt.Errorf("look for the workspace %s: %w", shown, err)
	}
	run.WorkspaceID, run.Workspace = answer.Data.ID, answer.Data.Attributes.Name
	run.Organization = firstOf(answer.Data.related("organization"), given.organization)
	return nil
}

// orMayNot says what a 404 means once the workspace was found: a server tells
// whoever may not do something that it is not there.
func orMayNot(err error) error {
	if answered(err, http.StatusNotFound) {
		return errors.New("the token may read the workspace, but not create runs in it: that takes the permission manage-policies")
	}
	return err
}

// upload makes a configuration version of the plan.
func (c *remoteCheck) upload(ctx context.Context, run *reportRun, plan *os.File) error {
	c.progress.say("uploading the plan")
	type attributes struct {
		Status    string `json:"status"`
		UploadURL string `json:"upload-url"`
	}
	var made struct {
		Data wireResource[attributes] `json:"data"`
	}
	draft := wireDraft("configuration-versions", map[string]any{"auto-queue-runs": false, "speculative": true}, nil)
	// One that nobody uploads to does no harm.
	err := repeat(ctx, c.checkClient, func() error {
		return c.post(ctx, "/workspaces/"+url.PathEscape(run.WorkspaceID)+"/configuration-versions", draft, &made)
	})
	if err != nil {
		return fmt.Errorf("create a configuration version: %w", orMayNot(err))
	}
	run.ConfigurationVersionID = made.Data.ID
	base, err := url.Parse(c.base)
	if err != nil {
		return err
	}
	to, err := base.Parse(made.Data.Attributes.UploadURL)
	if err != nil || made.Data.Attributes.UploadURL == "" {
		return errors.New("upload the plan: the server names no address for it; may the token create runs?")
	}
	if base.Scheme == "https" && to.Scheme != "https" { // it would go in plain text
		return errors.New("upload the plan: the server, which is asked over https, names an address for it that is not (see POLSET_PUBLIC_URL there)")
	}
	one := "/configuration-versions/" + url.PathEscape(made.Data.ID)
	err = c.put(ctx, to.String(), plan)
	if err != nil && !answered(err, http.StatusConflict) { // that of a try whose answer got lost
		return fmt.Errorf("upload the plan: %w", err)
	}
	var uploaded struct {
		Data wireResource[attributes] `json:"data"`
	}
	return c.poll(ctx, func() (bool, error) {
		if err := c.get(ctx, one, &uploaded); err != nil {
			return false, fmt.Errorf("upload the plan: %w", err)
		}
		switch uploaded.Data.Attributes.Status {
		case "uploaded":
			return true, nil
		case "errored":
			return false, errors.New("upload the plan: the server could not use the configuration version")
		}
		return false, nil
	})
}

type runAttributes struct {
	Status    string    `json:"status"`
	CreatedAt time.Time `json:"created-at"`
}

// createRun creates the run, once: where an answer got lost it looks whether
// the run is there.
func (c *remoteCheck) createRun(ctx context.Context, run *reportRun) error {
	c.progress.say("creating the run")
	var made struct {
		Data wireResource[runAttributes] `json:"data"`
	}
	draft := wireDraft("runs", map[string]any{"message": c.message, "plan-only": true}, map[string]wireReference{
		"workspace":             {"workspaces", run.WorkspaceID},
		"configuration-version": {"configuration-versions", run.ConfigurationVersionID},
	})
	err := repeat(ctx, c.checkClient, func() error {
		if made.Data.ID != "" {
			return nil
		}
		err := c.post(ctx, "/runs", draft, &made)
		var uncertain *uncertainError
		if errors.As(err, &uncertain) {
			found, lookErr := c.runOf(ctx, run)
			switch {
			case lookErr != nil:
				return lookErr
			case found.ID != "":
				made.Data = found
				return nil
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create the run: %w", orMayNot(err))
	}
	run.ID, run.Status, run.CreatedAt = made.Data.ID, made.Data.Attributes.Status, made.Data.Attributes.CreatedAt
	run.URL = c.base + apiPath + "/runs/" + url.PathEscape(run.ID)
	c.report.At = run.CreatedAt
	return nil
}

// runOf finds the run of the configuration version.
func (c *remoteCheck) runOf(ctx context.Context, run *reportRun) (found wireResource[runAttributes], err error) {
	err = eachOf(ctx, c.checkClient, "/workspaces/"+url.PathEscape(run.WorkspaceID)+"/runs", func(r wireResource[runAttributes]) {
		if r.related("configuration-version") == run.ConfigurationVersionID {
			found = r
		}
	})
	return found, err
}

// wait waits until the run rests.
func (c *remoteCheck) wait(ctx context.Context, run *reportRun) error {
	return c.poll(ctx, func() (bool, error) {
		var answer struct {
			Data wireResource[runAttributes] `json:"data"`
		}
		if err := c.get(ctx, "/runs/"+url.PathEscape(run.ID), &answer); err != nil {
			return false, fmt.Errorf("wait for the run %s: %w", run.ID, err)
		}
		run.Status = answer.Data.Attributes.Status
		c.progress.say(fmt.Sprintf("run %s: %s", run.ID, strings.ReplaceAll(run.Status, "_", " ")))
		return restingRun(polset.RunStatus(run.Status)), nil
	})
}

// restingRun reports whether a run goes no further by itself.
func restingRun(s polset.RunStatus) bool {
	switch s {
	case polset.RunPlanned, polset.RunPostPlanCompleted, polset.RunPolicyChecked, polset.RunErrored, polset.RunCanceled,
		polset.RunDiscarded, polset.RunPostPlanAwaitingDecision, polset.RunPolicyOverride:
		return true
	}
	return false
}

// abandon cancels the run that was created, and says why nobody waits for it.
func (c *remoteCheck) abandon(ctx context.Context, why error) error {
	run := c.report.Run
	if run == nil {
		return why
	}
	ctx, cancel := context.WithTimeout(ctx, abandonTimeout)
	defer cancel()
	c.progress.say("cancelling the run " + run.ID)
	err := c.post(ctx, "/runs/"+url.PathEscape(run.ID)+"/actions/cancel", nil, nil)
	switch {
	case err == nil:
		return fmt.Errorf("%w; the run %s is cancelled", why, run.ID)
	case answered(err, http.StatusConflict):
		return fmt.Errorf("%w; the run %s has ended meanwhile", why, run.ID)
	}
	return fmt.Errorf("%w; the run %s could not be cancelled: %w", why, run.ID, err)
}

const (
	abandonTimeout = 10 * time.Second
	// firstPoll grows by half with each look, up to maxPoll.
	firstPoll = 200 * time.Millisecond
	maxPoll   = 5 * time.Second
)

// poll looks until there is nothing to wait for.
func (c *remoteCheck) poll(ctx context.Context, look func() (done bool, err error)) error {
	for wait := firstPoll; ; wait = min(wait*3/2, maxPoll) {
		if done, err := look(); done || err != nil {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// repeat repeats what may have been done, and may be done twice.
func repeat(ctx context.Context, c *checkClient, work func() error) error {
	for tries := 1; ; tries++ {
		err := work()
		var uncertain *uncertainError
		if !errors.As(err, &uncertain) || tries == maxTries {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait := backoff(tries)
		c.say(fmt.Sprintf("%v; trying again in %s", err, shortly(wait)))
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}
