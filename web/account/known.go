package account

import (
	"crypto/sha256"
	"sync"
	"time"
)

// knownLimit bounds how many sessions are remembered.
const knownLimit = 10_000

// known remembers, for a moment, who the sessions of the last requests belong to. A change in this process forgets all of it;
// one in another process is seen when the moment is over.
type known struct {
	life  time.Duration // 0 = nothing is remembered
	clock func() time.Time

	mu    sync.Mutex
	users map[[sha256.Size]byte]knownUser
	turn  int // grows with each forgetting: what was read before one is not remembered after it
}

type knownUser struct {
	user User
	till time.Time
}

// RememberSessions lets Session answer from memory for so long after it asked the database. Call it before the store is used.
func (s *Store) RememberSessions(life time.Duration) { s.known.life = life }

// find returns the user of a session, and the turn that remember wants.
func (k *known) find(session [sha256.Size]byte) (User, bool, int) {
	if k.life == 0 {
		return User{}, false, 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	u, ok := k.users[session]
	return u.user, ok && k.clock().Before(u.till), k.turn
}

func (k *known) remember(session [sha256.Size]byte, u User, turn int) {
	if k.life == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if turn != k.turn {
		return
	}
	if k.users == nil || len(k.users) >= knownLimit {
		k.users = map[[sha256.Size]byte]knownUser{}
	}
	k.users[session] = knownUser{u, k.clock().Add(k.life)}
}

// forget is called after every change of users and sessions.
func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users, k.turn = nil, k.turn+1
}
