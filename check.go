package polset

import (
	"slices"
	"time"
)

// CheckStatus is the state of a check.
type CheckStatus string

// The states of a check: pending → running → one of the others. A soft failure
// may still become an override; the rest stay as they are.
const (
	CheckPending    CheckStatus = "pending"
	CheckRunning    CheckStatus = "running"
	CheckPassed     CheckStatus = "passed" // advisory failures included
	CheckSoftFailed CheckStatus = "soft_failed"
	CheckHardFailed CheckStatus = "hard_failed"
	CheckOverridden CheckStatus = "overridden"
	CheckErrored    CheckStatus = "errored"
	CheckCanceled   CheckStatus = "canceled"
)

// Ended reports whether nothing more is evaluated.
func (s CheckStatus) Ended() bool { return s != CheckPending && s != CheckRunning }

// A Check evaluates, for one run, the policy sets of one kind that apply to its
// workspace. HCP Terraform shows those that run in an agent as a policy
// evaluation of the run's task stage, and the others as a policy check; Scalr
// shows all as policy checks.
type Check struct {
	ID             string // poleval-… where Evaluation, polchk-… otherwise
	OrganizationID string
	Organization   string // the organization's name
	WorkspaceID    string
	RunID          string
	Kind           Kind
	Evaluation     bool // a policy evaluation, not a policy check
	Status         CheckStatus
	ReachedAt      map[CheckStatus]time.Time // when it came into each state but the first
	Counts         ResultCounts              // of all its policies; zero until it has ended
	Duration       time.Duration             // that its evaluation took
	// Error and ErrorMessage say why it is errored as a whole, as where there is
	// no plan; "" where an outcome says it.
	Error        Class
	ErrorMessage string
	Override     *Override // nil: nobody overrode it
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// CanOverride reports whether there is something to override.
func (c Check) CanOverride() bool { return c.Status == CheckSoftFailed }

// MaxOverrideComment is how many bytes the comment of an override may have.
const MaxOverrideComment = 1000

// An Override lets a run go on in spite of a soft failure.
type Override struct {
	By      string // the actor
	Comment string
	At      time.Time
}

// ResultCounts counts policies by how they ended.
type ResultCounts struct {
	Passed         int
	AdvisoryFailed int
	SoftFailed     int // mandatory, but open to an override
	HardFailed     int
	Errored        int // neither: they say nothing, which is no pass
}

// Failed is how many failed, at whatever level.
func (c ResultCounts) Failed() int { return c.AdvisoryFailed + c.SoftFailed + c.HardFailed }

// MandatoryFailed is how many failed that are not advisory.
func (c ResultCounts) MandatoryFailed() int { return c.SoftFailed + c.HardFailed }

// Add adds the counts of others.
func (c *ResultCounts) Add(o ResultCounts) {
	c.Passed += o.Passed
	c.AdvisoryFailed += o.AdvisoryFailed
	c.SoftFailed += o.SoftFailed
	c.HardFailed += o.HardFailed
	c.Errored += o.Errored
}

// OutcomeStatus is how the evaluation of one policy ended.
type OutcomeStatus string

// How a policy ends.
const (
	OutcomePassed  OutcomeStatus = "passed"
	OutcomeFailed  OutcomeStatus = "failed"
	OutcomeErrored OutcomeStatus = "errored"
)

// A PolicyOutcome is what one policy says of a plan.
type PolicyOutcome struct {
	Name             string        `json:"name"`
	Query            string        `json:"query,omitempty"`
	EnforcementLevel string        `json:"enforcement_level"`
	Description      string        `json:"description,omitempty"`
	Status           OutcomeStatus `json:"status"`
	// Messages are what the policy denies, each a sentence of its author; of an
	// errored policy, why it says nothing. Sensitive parameters are masked.
	Messages []string `json:"messages,omitempty"`
	Prints   []string `json:"prints,omitempty"` // what it printed, in that order
	File     string   `json:"file,omitempty"`   // that declares it, from the root of the repository
	Line     int      `json:"line,omitempty"`
}

// A PolicySetOutcome is what one policy set says of a plan: which of its
// versions applied, as it was when the run was created, and how it ended.
type PolicySetOutcome struct {
	ID                   string // psout-…
	CheckID              string
	PolicySetID          string // which may be gone
	PolicySetName        string // then, as what follows
	PolicySetDescription string
	Kind                 Kind
	Overridable          bool
	PolicyToolVersion    string
	VersionID            string // "" where the set had no ready version
	Digest               string // of the version's archive: its key in the object storage
	PoliciesDirectory    string // where in the archive the set lies
	Policies             []PolicyOutcome
	Counts               ResultCounts
	// Error and ErrorMessage say why the set as a whole could not be evaluated.
	Error        Class
	ErrorMessage string
	CreatedAt    time.Time
}

// PolicyResult is how a policy ended, and what its enforcement level makes of
// that.
type PolicyResult string

// The results of a policy, each of which ResultCounts counts.
const (
	ResultPassed         PolicyResult = "passed"
	ResultAdvisoryFailed PolicyResult = "advisory_failed"
	ResultSoftFailed     PolicyResult = "soft_failed"
	ResultHardFailed     PolicyResult = "hard_failed"
	ResultErrored        PolicyResult = "errored"
)

// Result is how one of the set's policies ended. Of OPA, whose level is only
// mandatory, the policy set says whether a failure may be overridden. A level
// that nobody knows is the hardest.
func (o PolicySetOutcome) Result(p PolicyOutcome) PolicyResult {
	switch {
	case p.Status == OutcomePassed:
		return ResultPassed
	case p.Status != OutcomeFailed:
		return ResultErrored
	case p.EnforcementLevel == "advisory":
		return ResultAdvisoryFailed
	case p.EnforcementLevel == "soft-mandatory", p.EnforcementLevel == "mandatory" && o.Overridable:
		return ResultSoftFailed
	}
	return ResultHardFailed
}

// Count counts the policies of the outcome. A set that could not be evaluated
// counts as one that errored at least.
func (o PolicySetOutcome) Count() ResultCounts {
	var c ResultCounts
	for _, p := range o.Policies {
		switch o.Result(p) {
		case ResultPassed:
			c.Passed++
		case ResultAdvisoryFailed:
			c.AdvisoryFailed++
		case ResultSoftFailed:
			c.SoftFailed++
		case ResultHardFailed:
			c.HardFailed++
		case ResultErrored:
			c.Errored++
		}
	}
	if o.Error != "" && c.Errored == 0 {
		c.Errored = 1
	}
	return c
}

// Repeats says whether the messages of an errored policy are the reason for which
// its set is errored as a whole, over again. Who shows both to people says it
// once.
func (o PolicySetOutcome) Repeats(p PolicyOutcome) bool {
	return o.ErrorMessage != "" && slices.Equal(p.Messages, []string{o.ErrorMessage})
}

// CheckStatusOf is how a check ends whose policies ended so. What could not be
// evaluated weighs most: it fails closed, and nobody can override what nobody
// knows.
func CheckStatusOf(c ResultCounts) CheckStatus {
	switch {
	case c.Errored > 0:
		return CheckErrored
	case c.HardFailed > 0:
		return CheckHardFailed
	case c.SoftFailed > 0:
		return CheckSoftFailed
	}
	return CheckPassed
}

// An OutcomeFilter lets through outcomes that have a policy which it fits. A
// zero field fits any.
type OutcomeFilter struct {
	Status           OutcomeStatus
	EnforcementLevel string
}

// A CheckTask is the right to evaluate a check. Its Lease, whose IngestionID is
// the check's, is void as soon as somebody else claims it.
type CheckTask struct {
	Lease    Lease
	Check    Check
	Attempts int // in a row that did not end, or ended in a passing fault
	// PlanDigest is the sha256 of the configuration version's upload, its key in
	// the object storage.
	PlanDigest string
	Input      []byte    // what policies see as input.run, JSON; see RunInput
	At         time.Time // what policies take for now: the run's creation
	Sets       []CheckSet
}

// A CheckSet is a policy set that applies, as it was when the run was created.
// Its Outcome says which version, and has no policies yet.
type CheckSet struct {
	Outcome    PolicySetOutcome
	Policies   []PolicySummary // that the version declares
	Parameters []ParameterDraft
}

// A CheckResult says what became of a check.
type CheckResult struct {
	// Outcomes are those of the task's sets, in their order, with policies and
	// errors. Their counts are made by whoever writes them.
	Outcomes []PolicySetOutcome
	Failure  *Failure // of the check as a whole; nil where the outcomes say it
	Duration time.Duration

	// Again asks for another attempt, after a while; with a Fault one that ended
	// in a passing fault.
	Again bool
	After time.Duration
	Fault bool
}

// RunInput is what policies see as input.run, in HCP Terraform's form
// (https://developer.hashicorp.com/terraform/cloud-docs/policy-enforcement/define-policies/opa#opa-input).
type RunInput struct {
	ID           string                 `json:"id"`
	CreatedAt    time.Time              `json:"created_at"`
	CreatedBy    string                 `json:"created_by"` // the actor
	Message      string                 `json:"message"`
	CommitSHA    string                 `json:"commit_sha"` // "": polset does not know it
	IsDestroy    bool                   `json:"is_destroy"`
	Refresh      bool                   `json:"refresh"`
	RefreshOnly  bool                   `json:"refresh_only"`
	ReplaceAddrs []string               `json:"replace_addrs"`
	Speculative  bool                   `json:"speculative"`
	TargetAddrs  []string               `json:"target_addrs"`
	Variables    map[string]RunVariable `json:"variables"`
	Project      RunProject             `json:"project"`
	Organization RunOrganization        `json:"organization"`
	Workspace    RunWorkspace           `json:"workspace"`
}

// A RunVariable is a variable that a run was given.
type RunVariable struct {
	Category  string `json:"category"`
	Sensitive bool   `json:"sensitive"`
}

// A RunProject is the project of a run's workspace.
type RunProject struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// A RunOrganization is the organization of a run.
type RunOrganization struct {
	Name string `json:"name"`
}

// A RunWorkspace is the workspace of a run, with the tags in effect on it.
type RunWorkspace struct {
	ID               string         `json:"id"`
	Name             string         `json:"name"`
	CreatedAt        time.Time      `json:"created_at"`
	Description      string         `json:"description"`
	ExecutionMode    string         `json:"execution_mode"`
	AutoApply        bool           `json:"auto_apply"`
	Tags             []string       `json:"tags"` // keys
	TagBindings      []RunTag       `json:"tag_bindings"`
	WorkingDirectory string         `json:"working_directory"`
	VCSRepo          map[string]any `json:"vcs_repo"` // null: polset's workspaces follow no repository
}

// A RunTag is a tag in effect on a run's workspace.
type RunTag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}
