//go:build race

package main_test

// The program under test finds races where its tests do.
var raceFlag = []string{"-race"}
