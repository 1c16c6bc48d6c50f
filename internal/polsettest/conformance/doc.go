// Package conformance holds polset against HashiCorp's own client: it runs the
// integration tests of go-tfe, unmodified, against the built binary, and
// compares what becomes of each with what expected.txt says. make conformance
// runs it; without the build tag of that name there are only the tests of the
// runner itself.
package conformance
