// Package gotfe is a module of its own that requires HashiCorp's client and
// what its tests need, so that polset itself does not.
package gotfe

import _ "github.com/hashicorp/go-tfe" // whose tests are run
