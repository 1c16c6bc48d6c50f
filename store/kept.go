package store

import (
	"encoding/json"
	"fmt"
	"maps"
)

// Settings that polset only keeps for its clients are a JSON object in their
// row: what a client set, and nothing of what it left at its default.

// keep writes settings as a row holds them.
func keep(settings map[string]any) (string, error) {
	if len(settings) == 0 {
		return "{}", nil
	}
	column, err := json.Marshal(settings)
	if err != nil {
		return "", fmt.Errorf("write settings: %w", err)
	}
	return string(column), nil
}

// kept reads settings as a row holds them; what cannot be read was not written
// by this store.
func kept(column string) map[string]any {
	settings := map[string]any{}
	if err := json.Unmarshal([]byte(column), &settings); err != nil {
		panic(fmt.Sprintf("read the settings %q: %v", column, err))
	}
	return settings
}

// keepChanged changes the settings of a row by name; null takes one away.
func keepChanged(column string, changes map[string]any) (string, error) {
	if len(changes) == 0 {
		return column, nil
	}
	settings := kept(column)
	maps.Copy(settings, changes)
	maps.DeleteFunc(settings, func(_ string, value any) bool { return value == nil })
	return keep(settings)
}
