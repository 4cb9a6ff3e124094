package account

import (
	"crypto/sha256"
	"sync"
	"time"
)

// knownLimit bounds how much is remembered.
const knownLimit = 10_000

// known remembers, for a moment, what the secrets of the last requests stand for: the user of a session, an API key. A change in this
// process forgets all of it; one in another process is seen when the moment is over.
type known[T any] struct {
	life  time.Duration // 0 = nothing is remembered
	clock func() time.Time

	mu   sync.Mutex
	all  map[[sha256.Size]byte]knownOne[T]
	turn int // grows with each forgetting: what was read before one is not remembered after it
}

type knownOne[T any] struct {
	value T
	till  time.Time
}

// RememberSessions lets Session answer from memory for so long after it asked the database. Call it before the store is used.
func (s *Store) RememberSessions(life time.Duration) { s.known.life = life }

// RememberKeys lets Authenticate answer from memory for so long after it asked the database: a key that is revoked in another process
// is refused no later than that. Call it before the store is used.
func (s *Store) RememberKeys(life time.Duration) { s.keys.life = life }

// find returns what a secret stands for, and the turn that remember wants.
func (k *known[T]) find(secret [sha256.Size]byte) (value T, ok bool, turn int) {
	if k.life == 0 {
		return value, false, 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	one, ok := k.all[secret]
	return one.value, ok && k.clock().Before(one.till), k.turn
}

func (k *known[T]) remember(secret [sha256.Size]byte, value T, turn int) {
	if k.life == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if turn != k.turn {
		return
	}
	if k.all == nil || len(k.all) >= knownLimit {
		k.all = map[[sha256.Size]byte]knownOne[T]{}
	}
	k.all[secret] = knownOne[T]{value, k.clock().Add(k.life)}
}

func (k *known[T]) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all, k.turn = nil, k.turn+1
}

// forget is called after every change of users, sessions and keys.
func (s *Store) forget() {
	s.known.forget()
	s.keys.forget()
}
