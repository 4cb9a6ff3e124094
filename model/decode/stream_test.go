package decode

import (
	"testing"
	"time"
)

// TestStir: the first token wakes the reader, those that may wait for the next are read together with it, and none waits longer.
func TestStir(t *testing.T) {
	s := newStream()
	awake := func() bool {
		select {
		case <-s.signal:
			return true
		default:
			return false
		}
	}
	begin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	const gather = 5 * time.Millisecond
	for _, c := range []struct {
		at, next time.Duration
		push     bool
		wakes    bool
	}{
		{0, time.Millisecond, true, true},                        // the first
		{time.Millisecond, time.Millisecond, true, false},        // 2 ms after it there is another one
		{2 * time.Millisecond, time.Millisecond, false, false},   // which did not come
		{3 * time.Millisecond, 3 * time.Millisecond, true, true}, // the next comes late
		{4 * time.Millisecond, time.Millisecond, false, false},
		{8 * time.Millisecond, time.Millisecond, false, false}, // nothing to hear of
		{9 * time.Millisecond, time.Millisecond, true, true},
		{10 * time.Millisecond, time.Second, true, true}, // a slow model
	} {
		if c.push {
			s.push(Token{ID: 1})
		}
		if !s.Ready() {
			t.Fatalf("at %v: nothing to read", c.at)
		}
		s.stir(begin.Add(c.at), c.next, gather)
		if got := awake(); got != c.wakes {
			t.Errorf("at %v: woken %v, want %v", c.at, got, c.wakes)
		}
	}
	for range 5 {
		if _, ok, err := s.Next(t.Context()); !ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
	}
	if s.Ready() {
		t.Error("all was read, and there is more")
	}
	s.end(Usage{}, nil)
	if !s.Ready() || !awake() {
		t.Error("the end was not heard of")
	}
}
