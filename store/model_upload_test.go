package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/polset/polset"
)

// TestUploadModel drives clients that upload at once, again and too late, and
// workers that finish, fail, give up, sleep and die. After each step the rows
// say what a model of a few lines says.
func TestUploadModel(t *testing.T) {
	onBoth(t, func(b *bench) {
		n := 0
		rapid.Check(b.TB.(*testing.T), func(rt *rapid.T) { //nolint:forcetypeassert // onBoth gives a test
			n++
			m := &uploadModel{b: b, set: b.uploadable(fmt.Sprint("model", n)).ID}
			rt.Repeat(map[string]func(*rapid.T){
				"create":  m.create,
				"claim":   func(rt *rapid.T) { m.claim(rt) },
				"upload":  m.upload,
				"finish":  func(rt *rapid.T) { m.end(rt, polset.VersionReady) },
				"fail":    func(rt *rapid.T) { m.end(rt, polset.VersionErrored) },
				"release": m.release,
				"expire":  m.expire,
				"abandon": m.abandon,
				"":        m.check,
			})
			b.verify()
		})
	})
}

type uploadModel struct {
	b        *bench
	set      string
	versions []*uploadedVersion // in the order of their creation
	claims   []uploadClaim      // every one that was ever given out
}

type uploadedVersion struct {
	id     string
	status polset.VersionStatus
	holder int64 // the lease that may move it; 0: none
	live   bool  // nobody else may take it
	ended  int64 // the lease that ended it
}

type uploadClaim struct {
	v     *uploadedVersion
	lease polset.Lease
}

func (m *uploadModel) create(*rapid.T) {
	m.versions = append(m.versions, &uploadedVersion{id: m.b.awaiting(m.set).ID, status: polset.VersionPending})
}

// claim says whether a version was there to be claimed, and was.
func (m *uploadModel) claim(rt *rapid.T) bool {
	if len(m.versions) == 0 {
		return false
	}
	v := rapid.SampledFrom(m.versions).Draw(rt, "version")
	c, err := m.b.ClaimUpload(m.b.ctx(), uploader, v.id, time.Minute)
	if v.status.Terminal() || v.live {
		if !errors.Is(err, polset.ErrConflict) {
			rt.Fatalf("claim of %+v got %v", v, err)
		}
		return false
	}
	if err != nil || c.Lease.Number <= v.holder {
		rt.Fatalf("claim of %+v got %+v, %v", v, c, err)
	}
	v.status, v.holder, v.live = polset.VersionIngressing, c.Lease.Number, true
	m.claims = append(m.claims, uploadClaim{v, c.Lease})
	return true
}

// upload is one that nothing comes between.
func (m *uploadModel) upload(rt *rapid.T) {
	if m.claim(rt) {
		m.move(rt, m.claims[len(m.claims)-1], polset.VersionReady)
	}
}

// pick is any claim, stale ones included.
func (m *uploadModel) pick(rt *rapid.T) (c uploadClaim, ok bool) {
	if len(m.claims) == 0 {
		return c, false
	}
	return rapid.SampledFrom(m.claims).Draw(rt, "claim"), true
}

func (m *uploadModel) end(rt *rapid.T, as polset.VersionStatus) {
	if c, ok := m.pick(rt); ok {
		m.move(rt, c, as)
	}
}

func (m *uploadModel) move(rt *rapid.T, c uploadClaim, as polset.VersionStatus) {
	var err error
	if as == polset.VersionReady {
		err = m.b.Finish(m.b.ctx(), c.lease, uploaded(c.v.id))
	} else {
		err = m.b.Store.Fail(m.b.ctx(), c.lease, polset.Fail(polset.ClassPolicyInvalid, "No."), polset.Content{})
	}
	switch {
	case c.v.holder == c.lease.Number: // even when its time is over, as long as nobody took it
		if err != nil {
			rt.Fatalf("the holder was refused: %v", err)
		}
		c.v.status, c.v.ended, c.v.holder, c.v.live = as, c.lease.Number, 0, false
	case c.v.status == as && c.v.ended == c.lease.Number: // the same once more
		if err != nil {
			rt.Fatalf("a repetition was refused: %v", err)
		}
	case !errors.Is(err, polset.ErrFenced):
		rt.Fatalf("a stale claim of %+v got %v", c.v, err)
	}
}

func (m *uploadModel) release(rt *rapid.T) {
	c, ok := m.pick(rt)
	if !ok {
		return
	}
	err := m.b.Release(m.b.ctx(), c.lease, 0, "storage: It is down.")
	if c.v.holder != c.lease.Number {
		if !errors.Is(err, polset.ErrFenced) {
			rt.Fatalf("a stale claim of %+v got %v", c.v, err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("the holder was refused: %v", err)
	}
	c.v.holder, c.v.live = 0, false
}

func (m *uploadModel) expire(*rapid.T) {
	m.b.exec(`UPDATE ingestions SET due_at = $1 WHERE ended_at IS NULL AND policy_set_id = $2`, time.Now().Add(-time.Minute), m.set)
	for _, v := range m.versions {
		v.live = false
	}
}

func (m *uploadModel) abandon(*rapid.T) {
	m.b.abandon(uploadAbandonedAfter + time.Minute)
	m.b.must(second(m.b.Sweep(m.b.ctx())))
	for _, v := range m.versions {
		if v.status == polset.VersionIngressing {
			v.status, v.holder, v.live = polset.VersionErrored, 0, false
		}
	}
}

func (m *uploadModel) check(rt *rapid.T) {
	newest, current := "", ""
	for _, v := range m.versions {
		newest = v.id
		if v.status == polset.VersionReady {
			current = v.id
		}
		if got := m.b.version(v.id); got.Status != v.status || (got.Artifact.Digest != "") != (v.status == polset.VersionReady) {
			rt.Fatalf("version %+v, want %s", got, v.status)
		}
	}
	if p := m.b.set(m.set); p.NewestVersionID != newest || p.CurrentVersionID != current {
		rt.Fatalf("newest %s, current %s; want %s and %s", p.NewestVersionID, p.CurrentVersionID, newest, current)
	}
}
