package policy

// documents is the tree of data, as far as files are told apart by it. It
// holds each part of a path once, however many paths share it, and is of
// bounded size: a definition that it has no room for counts as one of the
// nearest document above, which whoever refers to what is defined reaches too.
type documents struct {
	root *document
	room int // for how many more
}

// A document is what lies at a path of data.
type document struct {
	above *document            // nil for data itself
	below map[string]*document // nil where there is nothing
	files []int                // which define it, ascending, each once
	all   fileSet              // which define it or something below; nil until known
}

// A place is where a path leads: to a document, or to something missing
// below it.
type place struct {
	*document
	missing bool
}

const (
	// maxDocuments is how many documents of a set are told apart, which takes
	// up to half a KiB for each.
	maxDocuments = 100_000
	// maxPart is how long a part of a path may be that is told apart. A longer
	// one would be held, and hashed for each reference that an import expands
	// to it.
	maxPart = 256
)

func newDocuments() documents {
	return documents{root: &document{}, room: maxDocuments}
}

// define says that a file defines the document at a path. Files come in
// ascending order.
func (d *documents) define(path []string, file int) {
	at := d.root
	for _, part := range path {
		next := at.child(part)
		if next == nil {
			if d.room == 0 || len(part) > maxPart {
				break
			}
			d.room--
			next = &document{above: at}
			if at.below == nil {
				at.below = map[string]*document{}
			}
			at.below[part] = next
		}
		at = next
	}
	if n := len(at.files); n == 0 || at.files[n-1] != file {
		at.files = append(at.files, file)
	}
}

// find returns where a path leads.
func (d *documents) find(path []string) place {
	at := d.root
	for _, part := range path {
		next := at.child(part)
		if next == nil {
			return place{at, true}
		}
		at = next
	}
	return place{at, false}
}

// child returns what lies below d as part, nil where nothing does.
func (d *document) child(part string) *document {
	if len(part) > maxPart {
		return nil
	}
	return d.below[part]
}

// collect adds the files that define d or something below to files, and
// returns how many documents it looked at.
func (d *document) collect(files fileSet) int {
	if d.all != nil {
		files.addAll(d.all)
		return manyDocuments
	}
	looked := 1 + len(d.files)
	for _, i := range d.files {
		files.add(i)
	}
	for _, below := range d.below {
		looked += below.collect(files)
	}
	return looked
}
