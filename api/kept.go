package api

import (
	"encoding/json"
	"fmt"
)

// Clients set attributes that mean nothing to polset, and read them back. Each
// resource lists those in a struct; polset keeps them and does nothing with them.

// A keeper is such a struct.
type keeper[K any] interface {
	// defaults are HCP Terraform's.
	defaults() K
	// check says what is wrong with the values.
	check() problems
}

// shown returns the defaults with what was set.
func shown[K keeper[K]](set map[string]any) K {
	var values K
	values = values.defaults()
	b, err := json.Marshal(set)
	if err == nil {
		err = json.Unmarshal(b, &values)
	}
	if err != nil {
		// A keeping let nothing else through.
		panic(fmt.Sprintf("show settings: %v", err)) // not the values, which may be secret
	}
	return values
}

// A keeping is the attributes of a request: the resource's own, and those that
// polset only keeps, by name. Null takes one back to its default.
type keeping[T any, K keeper[K]] struct {
	own   T
	kept  map[string]any
	wrong problems // with the values that are kept
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *keeping[T, K]) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &d.own); err != nil {
		return err
	}
	var values K
	values = values.defaults()
	if err := json.Unmarshal(b, &values); err != nil {
		return err
	}
	d.wrong = values.check()
	var given map[string]json.RawMessage
	if err := json.Unmarshal(b, &given); err != nil {
		return err
	}
	clean, err := json.Marshal(values)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(clean, &d.kept); err != nil {
		return err
	}
	for name := range d.kept {
		switch value, ok := given[name]; {
		case !ok:
			delete(d.kept, name)
		case string(value) == "null":
			d.kept[name] = nil
		}
	}
	return nil
}

// set is what is kept of something new: nothing stays at its default.
func (d keeping[T, K]) set() map[string]any {
	set := map[string]any{}
	for name, value := range d.kept {
		if value != nil {
			set[name] = value
		}
	}
	return set
}

// The ways in which Terraform may run. polset runs none, and has no agents.
const (
	executionRemote = "remote"
	executionLocal  = "local"
)

// defaultExecutionMode is the setting of an organization, and of a project that
// has its own.
const (
	defaultExecutionMode = "default-execution-mode"
	ownExecutionMode     = "execution-mode"
)

// executionMode returns the setting that holds, the nearest first; names are
// those of what each is the settings of.
func executionMode(nearest ...any) string {
	for _, mode := range nearest {
		if mode, ok := mode.(string); ok {
			return mode
		}
	}
	return executionRemote
}

// checkExecutionMode judges a mode that an attribute asks for.
func checkExecutionMode(attribute, mode string) problems {
	switch mode {
	case executionRemote, executionLocal:
		return nil
	case "agent":
		return problems{invalid(attribute, "%s agent needs an agent pool, and polset has none: use remote or local.", attribute)}
	}
	return problems{invalid(attribute, "%s must be remote or local.", attribute)}
}

// A modeDraft is what a request says of an execution mode that otherwise comes
// from what the thing is in.
type modeDraft struct {
	attribute   string
	mode        optional[string]
	own         optional[bool] // of setting-overwrites: false takes what comes from above
	agentPoolID optional[string]
}

// keepIn adds the mode to the settings that are kept; now is the one that holds.
func (m modeDraft) keepIn(kept map[string]any, now string) problems {
	if m.agentPoolID.Or("") != "" {
		attribute := "agent-pool-id"
		if m.attribute == defaultExecutionMode {
			attribute = "default-agent-pool-id"
		}
		return problems{invalid(attribute, "%s names no agent pool: polset has none.", attribute)}
	}
	mode, given := m.mode.Get()
	own, says := m.own.Get()
	switch {
	case says && !own, m.mode.Null:
		kept[m.attribute] = nil
	case given:
		kept[m.attribute] = mode
		return checkExecutionMode(m.attribute, mode)
	case says:
		kept[m.attribute] = now
	}
	return nil
}

const maxSetting = 1024

// checkSettings judges texts by their names; "" is always allowed.
func checkSettings(texts map[string]string) problems {
	var wrong problems
	for name, text := range texts {
		if len(text) > maxSetting {
			wrong = append(wrong, invalid(name, "%s must not exceed %d bytes.", name, maxSetting))
		}
	}
	return wrong
}
