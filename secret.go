package polset

// A Secret is a value that must never be shown: it prints, logs and marshals
// as a placeholder. Reveal is the only way to its content.
type Secret struct{ value string }

const redacted = "[redacted]"

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the content, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// Empty reports whether there is no content.
func (s Secret) Empty() bool { return s.value == "" }

// String implements fmt.Stringer with a placeholder.
func (s Secret) String() string { return redacted }

// GoString implements fmt.GoStringer with a placeholder.
func (s Secret) GoString() string { return redacted }

// MarshalText implements encoding.TextMarshaler with a placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
