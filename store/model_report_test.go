package store

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/polset/polset"
)

// This file has the model's reporters, and the GitHub that they speak to.

// report takes reports that are due.
func (m *model) report(rt *rapid.T) {
	list, err := m.b.ClaimReports(m.b.ctx(), rapid.IntRange(1, 5).Draw(rt, "reports"), time.Minute)
	m.b.must(err)
	for _, r := range list {
		if slices.Contains(m.sets, r.PolicySetID) {
			m.sending = append(m.sending, r)
		}
	}
}

// answer sends a report that was taken: GitHub takes it or not, and its answer
// arrives or not.
func (m *model) answer(rt *rapid.T) {
	if len(m.sending) == 0 {
		return
	}
	n := rapid.IntRange(0, len(m.sending)-1).Draw(rt, "report")
	r := m.sending[n]
	m.sending = slices.Delete(m.sending, n, n+1)
	o := polset.ReportOutcome{ID: r.ID, LeasedBy: r.LeasedBy}
	switch rapid.SampledFrom([]string{"sent", "refused", "lost"}).Draw(rt, "fate") {
	case "sent":
		m.show(r)
		o.Revision = r.Revision
	case "refused":
		o.Failure = &polset.Failure{Class: polset.ClassTimeout, Message: "GitHub is down.", Retry: true}
	case "lost":
		m.show(r)
		o.Failure, o.Uncertain = &polset.Failure{Class: polset.ClassTimeout, Message: "GitHub is down.", Retry: true}, true
	}
	m.b.must(m.b.SettleReport(m.b.ctx(), o))
}

func (m *model) show(r polset.Report) {
	m.shown[r.PolicySetID+" "+r.Commit] = r.ID + " " + string(r.Status)
}

// silence ends whoever sends reports, and every wait.
func (m *model) silence(*rapid.T) {
	m.sending = nil
	m.b.due()
}

// checkShown demands that GitHub ends with the newest of what is to be said.
func (m *model) checkShown(rt *rapid.T) {
	for range 50 {
		m.silence(rt)
		list, err := m.b.ClaimReports(m.b.ctx(), 100, time.Minute)
		m.b.must(err)
		for _, r := range list {
			m.show(r)
			m.b.must(m.b.SettleReport(m.b.ctx(), polset.ReportOutcome{ID: r.ID, LeasedBy: r.LeasedBy, Revision: r.Revision}))
		}
		if len(list) == 0 && m.b.count(`SELECT count(*) FROM reports WHERE sent < revision AND given_up = ''`) == 0 {
			break
		}
	}
	for _, i := range m.all(m.sets) {
		if i.Commit == "" {
			continue // ended before anybody knew of which
		}
		var id string
		err := m.b.dialect.reader().QueryRowContext(m.b.ctx(), `SELECT id FROM reports WHERE subject = $1`, i.ID).Scan(&id)
		m.b.must(err)
		newest := true
		for _, later := range m.all([]string{i.PolicySetID}) {
			newest = newest && (later.Commit != i.Commit || later.Sequence <= i.Sequence)
		}
		if got := m.shown[i.PolicySetID+" "+i.Commit]; newest && got != id+" "+string(i.Status) {
			rt.Fatalf("GitHub shows %q of %+v, whose report is %s", got, i, id)
		}
	}
}
