// Package policy turns the files of a policy set into what they say: which
// policies there are, how strictly each is enforced, and whether the set can
// work at all.
//
// Read parses the set's configuration, policies.hcl or policies.json for OPA
// and sentinel.hcl for Sentinel, in the forms that HCP Terraform documents.
// Set.Outside then names the files that the configuration wants from elsewhere
// in the repository, and Set.Validate looks at the policies themselves.
// Set.Inspect does so as well and says of each policy what it is made of, as a
// digest, so that Compare can tell what a change does to which policy.
//
// For OPA, Validate parses and compiles every .rego file below the set's
// directory together, Rego v0 and v1 side by side, and looks for what each
// policy's query asks for. For Sentinel there is no public parser, so the
// .sentinel files are not compiled: Validate makes sure that each file the
// configuration names exists, is a regular file, is UTF-8 and is not a Git LFS
// pointer. Remote sources are taken at their word; nothing here dials out.
//
// Set.Compile makes an OPA set a Program, with its data files, and
// Program.Evaluate asks it what its policies say of a Plan: each query must give
// a set or an array, whose elements are what the policy denies. Nothing else is
// a pass. Equal inputs have equal outcomes: the time is that of the run, random
// numbers come from its id, and the builtins that nothing can pin are not
// there. (The local time zone is the process's, which should have TZ=UTC.)
// Programs does whole Evaluations and keeps what it has compiled.
//
// An evaluation ends with its context, but OPA looks at that only between
// steps and in some builtins, and nothing here bounds its memory: whoever
// evaluates policies of others does so in a process that can be killed.
//
// Everything read here is written by somebody else. Sizes, nesting and the
// number of diagnostics are bounded (see Limits), nothing in a configuration
// is evaluated, and no policy may use a builtin that reaches the network or
// the host.
package policy
