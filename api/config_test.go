package api_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/polset/polset/api"
)

// What a route needs is missed at start, not by the first request.
func TestRequiredParts(t *testing.T) {
	whole := newServer(t).api.Config
	whole.Registerer = nil
	optional := map[string]bool{"RateLimiter": true, "Registerer": true}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[api.Config]()) {
		if field.Type.Kind() != reflect.Interface || optional[field.Name] {
			continue
		}
		t.Run(field.Name, func(t *testing.T) {
			cfg := whole
			reflect.ValueOf(&cfg).Elem().FieldByIndex(field.Index).SetZero()
			if _, err := api.New(cfg); err == nil || !strings.Contains(err.Error(), field.Name+" is required") {
				t.Errorf("without %s: %v", field.Name, err)
			}
		})
	}
}
