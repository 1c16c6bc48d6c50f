//go:build race

package worker_test

// raceFactor is how much more memory a worker maps, since it has a race detector
// where its tests do.
const raceFactor = 8
