package worker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/polset/polset/policy"
)

const (
	// maxMessage is how long the JSON of a frame may be. The longest are lists of
	// directories, and what the policies of a set say, which package policy bounds.
	maxMessage = 32 << 20
	// maxData is how many bytes may go with it: a plan, or a part of a file.
	maxData = policy.MaxPlanBytes
)

// writeFrame writes a message as JSON, and the bytes that go with it, each
// behind its length.
func writeFrame(w io.Writer, message any, data []byte) error {
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if len(text) > maxMessage || len(data) > maxData {
		return &frameSizeError{len(text), len(data)}
	}
	frame := make([]byte, 8, 8+len(text))
	binary.BigEndian.PutUint32(frame, uint32(len(text)))     //nolint:gosec // bounded
	binary.BigEndian.PutUint32(frame[4:], uint32(len(data))) //nolint:gosec // likewise
	if _, err := w.Write(append(frame, text...)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	if len(data) > 0 {
		if _, err := w.Write(data); err != nil {
			return fmt.Errorf("write frame: %w", err)
		}
	}
	return nil
}

// readFrame reads a message, and at most the given number of bytes that go with
// it. The error is io.EOF where the other side has ended between two frames.
func readFrame(r io.Reader, message any, most int) (data []byte, err error) {
	var lengths [8]byte
	if _, err := io.ReadFull(r, lengths[:]); err != nil {
		return nil, err
	}
	n, m := binary.BigEndian.Uint32(lengths[:4]), binary.BigEndian.Uint32(lengths[4:])
	if n > maxMessage || m > uint32(most) { //nolint:gosec // a constant
		return nil, &frameSizeError{int(n), int(m)}
	}
	frame := make([]byte, int(n)+int(m))
	if _, err := io.ReadFull(r, frame); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // not between two frames
		}
		return nil, fmt.Errorf("read frame: %w", err)
	}
	if err := json.Unmarshal(frame[:n], message); err != nil {
		return nil, fmt.Errorf("decode frame: %w", err)
	}
	return frame[n:], nil
}

// A frameSizeError says that a frame is larger than either side may send.
type frameSizeError struct{ message, data int }

func (e *frameSizeError) Error() string {
	return fmt.Sprintf("a frame of %d and %d bytes is too large", e.message, e.data)
}
