package worker

import (
	"io/fs"
	"time"

	"github.com/polset/polset"
)

// An op says what a message is about.
type op string

// What the server orders.
const (
	opInspect op = "inspect" // a set
	opPlan    op = "plan"    // to keep the plan for the sets that follow
	opSet     op = "set"     // to evaluate one
	opForget  op = "forget"  // the plan
	opBegin   op = "begin"   // the files that were needed are at hand
	opRefuse  op = "refuse"  // they are not
	opAnswer  op = "answer"  // to a question
	opStop    op = "stop"    // nobody waits for the result any longer
)

// What a worker reports.
const (
	opReady op = "ready" // once, when its limits hold
	opNeed  op = "need"  // the files of a set, which is not compiled yet
	opAsk   op = "ask"   // a question about a file
	opDone  op = "done"  // the result of an order
)

// An order is what the server tells a worker. There is one at a time: the next
// comes when the last is done. Only a stop may come in between.
type order struct {
	Op op `json:"op"`

	Dir    string        `json:"dir,omitempty"` // inspect, set
	Kind   polset.Kind   `json:"kind,omitempty"`
	Budget time.Duration `json:"budget,omitempty"`

	Run  []byte    `json:"run,omitempty"` // plan, which is the frame's data
	At   time.Time `json:"at,omitzero"`
	Seed string    `json:"seed,omitempty"`

	Key        string            `json:"key,omitempty"` // set
	Parameters map[string]string `json:"parameters,omitempty"`

	Answer *answer `json:"answer,omitempty"`
}

// A report is what a worker tells the server.
type report struct {
	Op       op        `json:"op"`
	Question *question `json:"question,omitempty"`

	Summaries []polset.PolicySummary `json:"summaries,omitempty"` // done: inspect
	Outcomes  []polset.PolicyOutcome `json:"outcomes,omitempty"`  // done: set
	Duration  time.Duration          `json:"duration,omitempty"`
	Trouble   *trouble               `json:"trouble,omitempty"`
}

// A question is one about the files of a set. A worker asks one at a time.
type question struct {
	Op     fileOp `json:"op"`
	Name   string `json:"name,omitempty"`
	Handle int    `json:"handle,omitempty"` // of a file that is open
}

type fileOp string

const (
	fileOpen  fileOp = "open" // and read the first part
	fileRead  fileOp = "read" // the next part
	fileClose fileOp = "close"
	fileList  fileOp = "list" // a directory
	fileStat  fileOp = "stat"
	fileLstat fileOp = "lstat"
	fileLink  fileOp = "link" // where a link leads
)

// An answer is what the server says to a question; a part of a file is the
// frame's data.
type answer struct {
	Fault   *fault     `json:"fault,omitempty"` // beside Info, of reading it
	Info    *fileInfo  `json:"info,omitempty"`
	Entries []fileInfo `json:"entries,omitempty"`
	Link    string     `json:"link,omitempty"`
	Handle  int        `json:"handle,omitempty"` // 0 where the first part is all
	End     bool       `json:"end,omitempty"`    // there are no more parts
}

// A fault is an error of the server's file system, which keeps the error itself
// under the number.
type fault struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
	Missing,
	Forbidden,
	Invalid bool
}

// fileInfo describes a file; of an entry of a directory, Size may be unknown.
type fileInfo struct {
	Base string      `json:"name"`
	Bits fs.FileMode `json:"mode"`
	Long int64       `json:"size,omitempty"`
}

// Name implements fs.FileInfo and fs.DirEntry.
func (i fileInfo) Name() string { return i.Base }

// Mode implements fs.FileInfo.
func (i fileInfo) Mode() fs.FileMode { return i.Bits }

// Size implements fs.FileInfo.
func (i fileInfo) Size() int64 { return i.Long }

// IsDir implements fs.FileInfo and fs.DirEntry.
func (i fileInfo) IsDir() bool { return i.Bits.IsDir() }

// ModTime implements fs.FileInfo: policies have no times.
func (i fileInfo) ModTime() time.Time { return time.Time{} }

// Sys implements fs.FileInfo.
func (i fileInfo) Sys() any { return nil }

// infoOf is what a worker is told of a file.
func infoOf(i fs.FileInfo) *fileInfo {
	return &fileInfo{Base: i.Name(), Bits: i.Mode(), Long: i.Size()}
}
