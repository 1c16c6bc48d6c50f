package worker

import "runtime/metrics"

// memory measures what the Go runtime takes, the way debug.SetMemoryLimit counts
// it. The zero value is ready to use.
type memory struct{ samples [2]metrics.Sample }

// taken is how many bytes are taken.
func (m *memory) taken() int64 {
	m.samples[0].Name = "/memory/classes/total:bytes"
	m.samples[1].Name = "/memory/classes/heap/released:bytes"
	metrics.Read(m.samples[:])
	return int64(m.samples[0].Value.Uint64()) - int64(m.samples[1].Value.Uint64()) //nolint:gosec // no memory is that large
}
