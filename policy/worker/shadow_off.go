//go:build !race

package worker

// shadow is how many bytes the process maps for each that Go takes.
const shadow = 1
