package labeling

import "sync"

// servedMany is how many claims a generation of served remembers; there are two.
const servedMany = 4096

// served remembers the leases that this process gave out a moment ago, so that their submits need not read them. It is a guess: a
// submit writes only where the lease is still as it is remembered, and reads it where it is not.
type served struct {
	mu         sync.Mutex
	now, older map[string]servedLease
}

// servedLease is a lease as it was claimed.
type servedLease struct {
	lease
	labeler string
}

// place is where in the queue a task stood when it was claimed.
type place struct {
	lane     int16
	position int64
}

// add remembers what a labeler at work has claimed: a lease that no other act has touched.
func (s *served) add(a *Assignment, at place) {
	l := servedLease{lease{id: a.ID, taskID: a.TaskID, projectID: a.ProjectID, question: a.Question, state: Leased, guideline: a.Guideline,
		purpose: purposeWork, known: true, place: &at}, a.LabelerID}
	for _, pos := range a.Order {
		l.order = append(l.order, int16(pos))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || len(s.now) >= servedMany {
		s.now, s.older = make(map[string]servedLease, servedMany), s.now
	}
	s.now[a.ID] = l
}

// take returns a lease of a labeler, and forgets it: whoever guessed wrong reads it.
func (s *served) take(assignmentID, labelerID string) (lease, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, some := range []map[string]servedLease{s.now, s.older} {
		if l, ok := some[assignmentID]; ok && l.labeler == labelerID {
			delete(some, assignmentID)
			return l.lease, true
		}
	}
	return lease{}, false
}
