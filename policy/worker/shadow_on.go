//go:build race

package worker

// shadow is how many bytes the process maps for each that Go takes: the race
// detector keeps a book on each of them.
const shadow = 8
