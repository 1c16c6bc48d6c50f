package api

import (
	"encoding/json"
	"reflect"
	"regexp"
	"time"
)

// workspaceSettings are what polset only keeps of a workspace.
type workspaceSettings struct {
	AllowDestroyPlan            bool     `json:"allow-destroy-plan"`
	AssessmentsEnabled          bool     `json:"assessments-enabled"`
	AutoApply                   bool     `json:"auto-apply"`
	AutoApplyRunTrigger         bool     `json:"auto-apply-run-trigger"`
	AutoDestroyActivityDuration idleness `json:"auto-destroy-activity-duration"`
	AutoDestroyAt               instant  `json:"auto-destroy-at"`
	FileTriggersEnabled         bool     `json:"file-triggers-enabled"`
	GlobalRemoteState           bool     `json:"global-remote-state"`
	HYOKEnabled                 bool     `json:"hyok-enabled"`
	InheritsProjectAutoDestroy  bool     `json:"inherits-project-auto-destroy"`
	MigrationEnvironment        string   `json:"migration-environment"`
	ProjectRemoteState          bool     `json:"project-remote-state"`
	QueueAllRuns                bool     `json:"queue-all-runs"`
	SourceName                  *string  `json:"source-name"`
	SourceURL                   *string  `json:"source-url"`
	SpeculativeEnabled          bool     `json:"speculative-enabled"`
	StructuredRunOutputEnabled  bool     `json:"structured-run-output-enabled"`
	TerraformVersion            string   `json:"terraform-version"`
	TriggerPatterns             []string `json:"trigger-patterns"`
	TriggerPrefixes             []string `json:"trigger-prefixes"`
	WorkingDirectory            string   `json:"working-directory"`
}

func (workspaceSettings) defaults() workspaceSettings {
	return workspaceSettings{
		AllowDestroyPlan: true, FileTriggersEnabled: true, InheritsProjectAutoDestroy: true,
		QueueAllRuns: false, SpeculativeEnabled: true, StructuredRunOutputEnabled: true,
		TerraformVersion: "latest", TriggerPatterns: []string{}, TriggerPrefixes: []string{},
	}
}

// maxTriggers bounds the patterns, and the prefixes, of a workspace.
const maxTriggers = 100

func (s workspaceSettings) check() problems {
	wrong := checkSettings(map[string]string{
		"migration-environment": s.MigrationEnvironment, "terraform-version": s.TerraformVersion, "working-directory": s.WorkingDirectory,
		"source-name": orZero(s.SourceName), "source-url": orZero(s.SourceURL),
	})
	for name, list := range map[string][]string{"trigger-patterns": s.TriggerPatterns, "trigger-prefixes": s.TriggerPrefixes} {
		if len(list) > maxTriggers {
			wrong = append(wrong, invalid(name, "%s must not exceed %d entries.", name, maxTriggers))
		}
		for _, text := range list {
			wrong = append(wrong, checkSettings(map[string]string{name: text})...)
		}
	}
	wrong = append(wrong, s.AutoDestroyActivityDuration.check()...)
	if _, err := s.AutoDestroyAt.time(); s.AutoDestroyAt != "" && err != nil {
		wrong = append(wrong, invalid("auto-destroy-at", "auto-destroy-at must be a time, such as 2030-01-02T15:04:05Z."))
	}
	return wrong
}

// An idleness is how long a workspace may rest, such as 14d; "" is null.
type idleness string

var validIdleness = regexp.MustCompile(`^([0-9]{1,4}[dh])?$`)

func (i idleness) check() problems {
	if !validIdleness.MatchString(string(i)) {
		return problems{invalid("auto-destroy-activity-duration", "auto-destroy-activity-duration must be 1 to 4 digits and d or h, such as 14d.")}
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (i idleness) MarshalJSON() ([]byte, error) { return json.Marshal(orNull(string(i))) }

func (idleness) schema(d *description, taken bool) (schema, error) {
	return d.of(reflect.TypeFor[*string](), taken)
}

// An instant is a time that a client set; "" is null. Clients refuse a whole
// document for a time in another form than iso8601.
type instant string

func (i instant) time() (time.Time, error) { return time.Parse(time.RFC3339, string(i)) }

// MarshalJSON implements json.Marshaler.
func (i instant) MarshalJSON() ([]byte, error) {
	at, _ := i.time() // what was not set, or is refused, is null
	return iso8601(at).MarshalJSON()
}

func (instant) schema(d *description, taken bool) (schema, error) { return iso8601{}.schema(d, taken) }
