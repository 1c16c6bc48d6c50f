package polset

import (
	"errors"
	"fmt"
	"time"
)

// Class is the machine-readable reason of an errored version or check: the
// attribute error of a policy set version. The list is closed.
type Class string

// The error classes.
const (
	ClassURLForbidden      Class = "url-forbidden"      // polset will not dial this address
	ClassAuth              Class = "auth"               // the git server refused the credential, or hides the repository
	ClassCommitNotFound    Class = "commit-not-found"   // the commit or the branch does not exist
	ClassEmptyRepository   Class = "empty-repository"   // the repository has no commit
	ClassPathNotFound      Class = "path-not-found"     // policies-path does not exist at the commit
	ClassPathNotDirectory  Class = "path-not-directory" // policies-path is a file, a link or a submodule
	ClassNoPolicies        Class = "no-policies"        // there is nothing to enforce below policies-path
	ClassContentInvalid    Class = "content-invalid"    // a name, link, mode or submodule that polset refuses
	ClassPolicyInvalid     Class = "policy-invalid"     // the configuration or a policy does not parse or compile
	ClassLFSUnsupported    Class = "lfs-unsupported"    // a policy is a Git LFS pointer
	ClassEngineUnsupported Class = "engine-unsupported" // a check needs an engine that polset does not have
	ClassLimit             Class = "limit"              // a limit was exceeded; the message names it
	ClassGitCorrupt        Class = "git-corrupt"        // the git server sent objects that do not hold together
	ClassTimeout           Class = "timeout"            // the git server did not answer in time
	ClassStorage           Class = "storage"            // the object storage did not accept the archive
	ClassInternal          Class = "internal"           // a fault of polset itself
)

// OfContent reports whether the class says something of the content itself,
// so that the same content must fail in the same way again.
func (c Class) OfContent() bool {
	switch c {
	case ClassNoPolicies, ClassContentInvalid, ClassPolicyInvalid, ClassLFSUnsupported:
		return true
	}
	return false
}

// A Failure is an error with a class and a sentence that tells a person what
// to do. It is what an errored version shows; Err is for the log only.
type Failure struct { //nolint:errname // a noun of the domain first, an error second
	Class Class
	// Message is a full sentence for people. It never holds a secret, a
	// credential or an internal path.
	Message string
	// Retry says that another attempt may succeed.
	Retry bool
	// RetryAfter is the wait that the other side asked for; 0 where it did not.
	RetryAfter time.Duration
	// Hung says that the attempt held a worker until a deadline, so that it
	// is worth fewer attempts than a failure that came at once.
	Hung bool
	// Diagnostics say where, in the order of the files and lines; at most a
	// hundred.
	Diagnostics []Diagnostic
	// Err is the cause, or nil.
	Err error
}

// Error implements error.
func (f *Failure) Error() string {
	if f.Err != nil {
		return fmt.Sprintf("%s: %s: %v", f.Class, f.Message, f.Err)
	}
	return fmt.Sprintf("%s: %s", f.Class, f.Message)
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Fail returns a Failure that another attempt cannot heal.
func Fail(class Class, format string, args ...any) *Failure {
	return &Failure{Class: class, Message: fmt.Sprintf(format, args...)}
}

// FailureOf returns the Failure in err's chain. An error without one is
// polset's own fault and becomes ClassInternal, worth another attempt.
func FailureOf(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{
		Class:   ClassInternal,
		Message: "polset could not process this content; its log says why.",
		Retry:   true,
		Err:     err,
	}
}
