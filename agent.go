package polset

// AgentSettings say where the policies of a set run, and what follows from it:
// in an agent, as policy evaluations, or as the policy checks of old.
type AgentSettings struct {
	Enabled     bool
	ToolVersion string // of OPA or Sentinel
	Overridable *bool  // nil where nobody asked, or nothing can be overridden
}

// latestTool is the version of Sentinel that an agent runs unless a policy set
// asks for another.
const latestTool = "latest"

// For returns the settings that a policy set of a kind has when it asks for s.
// OPA always runs in an agent. Sentinel without one knows neither a tool
// version nor an override of the set: both are dropped, not refused, since
// clients send them along.
func (s AgentSettings) For(kind Kind) AgentSettings {
	s.Enabled = s.Enabled || kind == KindOPA
	if !s.Enabled {
		return AgentSettings{}
	}
	if s.Overridable == nil {
		s.Overridable = new(bool)
	}
	if s.ToolVersion == "" && kind == KindSentinel {
		s.ToolVersion = latestTool
	}
	return s
}
