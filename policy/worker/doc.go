// Package worker turns what package policy does into what other processes do
// under hard limits, so that a hostile policy costs its own version or its own
// check, and never the server.
//
// A Pool holds processes of the same program, warm and with nothing of the
// server in them: no environment, no files, no directory of their own. They
// speak over pipes only, in frames (see order and report), and ask for the files
// of a policy set as they need them. A process that exceeds a limit is replaced,
// and what it worked on fails with the limit's name. What it died of otherwise
// is not the content's fault, and is tried again.
//
// Main is what such a process runs. Whoever uses a Pool calls it first of all
// where the program was started with Subcommand.
package worker
