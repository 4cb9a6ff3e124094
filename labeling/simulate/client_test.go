package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// desk is a server that speaks the labeling endpoints, and keeps what it was told.
type desk struct {
	mu       sync.Mutex
	tasks    int // left to claim
	claimed  int
	rankings map[string]submission
	keys     map[string]string // Idempotency-Key of each submit
	logins   int
	trouble  func(r *http.Request, n int) (status int, head http.Header) // 0 = serve request n
	requests int
	forget   bool // end the session before the next claim
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
	if d.trouble != nil {
		if status, head := d.trouble(r, d.requests); status != 0 {
			for k, v := range head {
				w.Header()[k] = v
			}
			http.Error(w, "trouble", status)
			return
		}
	}
	if r.Method != http.MethodPost {
		http.Error(w, "method", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == "/login" {
		if r.FormValue("email") != "l@example.com" || r.FormValue("password") != "pass word&" {
			http.Error(w, "wrong password", http.StatusUnauthorized)
			return
		}
		d.logins++
		http.SetCookie(w, &http.Cookie{Name: "session", Value: fmt.Sprint(d.logins), Path: "/", HttpOnly: true})
		http.Redirect(w, r, "/label", http.StatusSeeOther)
		return
	}
	if c, err := r.Cookie("session"); err != nil || d.forget || c.Value != fmt.Sprint(d.logins) {
		d.forget = false
		http.Error(w, "sign in", http.StatusUnauthorized)
		return
	}
	switch path := r.URL.Path; {
	case path == "/label/api/claim":
		if d.tasks == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		d.tasks--
		d.claimed++
		_ = json.NewEncoder(w).Encode(map[string]any{"assignment": fmt.Sprintf("a%d", d.claimed), "task": "t", "lease_until": "2026-01-01T00:00:00Z",
			"messages": []map[string]string{{"role": "user", "content": "Tell a story about a fox and a drum."}},
			"answers": []map[string]string{{"key": "A", "text": "You fool, you are stupid and"},
				{"key": "B", "text": " A kind fox found an old drum. She shared the drum with a friend."},
				{"key": "C", "text": "The the the."}},
			"instructions": "", "draft": nil, "done": 0, "open": d.tasks})
	default:
		var id string
		if _, err := fmt.Sscanf(path, "/label/api/assignments/%s", &id); err != nil || len(id) < 8 {
			http.NotFound(w, r)
			return
		}
		id = id[:len(id)-len("/submit")]
		var s submission
		in := json.NewDecoder(r.Body)
		in.DisallowUnknownFields()
		if err := in.Decode(&s); err != nil || len(s.Ranks) != 3 || r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "bad body", http.StatusBadRequest)
			return
		}
		d.rankings[id], d.keys[id] = s, r.Header.Get("Idempotency-Key")
		_, _ = fmt.Fprintf(w, `{"ranking":"r-%s"}`, id)
	}
}

func newDesk(t *testing.T, tasks int) (*desk, *Client) {
	d := &desk{tasks: tasks, rankings: map[string]submission{}, keys: map[string]string{}}
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	return d, &Client{BaseURL: srv.URL + "/", World: Starter(), Backoff: time.Millisecond,
		Labeler: Labeler{Email: "l@example.com", Password: "pass word&", Seed: 3, Temperature: 0.01}}
}

func TestClientLabelsUntilNothingIsLeft(t *testing.T) {
	d, c := newDesk(t, 5)
	done, err := c.Run(t.Context(), 3)
	if done != 3 || err != nil {
		t.Fatalf("done %d, %v", done, err)
	}
	if done, err = c.Run(t.Context(), 0); done != 2 || err != nil {
		t.Fatalf("then done %d, %v", done, err)
	}
	if d.logins != 1 {
		t.Errorf("%d sign-ins", d.logins)
	}
	for id, s := range d.rankings {
		if s.Ranks[1] != 1 || s.ActiveMS <= 0 || s.WallMS < s.ActiveMS {
			t.Errorf("%s: %+v", id, s)
		}
		if d.keys[id] == "" {
			t.Errorf("%s: no Idempotency-Key", id)
		}
	}
	if len(d.rankings) != 5 {
		t.Errorf("%d rankings", len(d.rankings))
	}
}

func TestClientWaitsAndTriesAgain(t *testing.T) {
	d, c := newDesk(t, 3)
	var bodies []string
	d.trouble = func(r *http.Request, n int) (int, http.Header) {
		switch n % 4 {
		case 1:
			return http.StatusTooManyRequests, http.Header{"Retry-After": {"0"}}
		case 2:
			return http.StatusServiceUnavailable, nil
		case 3:
			return http.StatusInternalServerError, nil
		}
		bodies = append(bodies, r.URL.Path)
		return 0, nil
	}
	if done, err := c.Run(t.Context(), 0); done != 3 || err != nil {
		t.Fatalf("done %d, %v", done, err)
	}
	if d.claimed != 3 || len(d.rankings) != 3 {
		t.Errorf("claimed %d, ranked %d: %v", d.claimed, len(d.rankings), bodies)
	}
}

func TestClientHonoursRetryAfter(t *testing.T) {
	d, c := newDesk(t, 0)
	d.trouble = func(_ *http.Request, n int) (int, http.Header) {
		if n == 1 {
			return http.StatusTooManyRequests, http.Header{"Retry-After": {"1"}}
		}
		return 0, nil
	}
	begin := time.Now()
	if _, err := c.Run(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(begin); waited < time.Second {
		t.Errorf("came back after %v", waited)
	}
}

func TestClientGivesUp(t *testing.T) {
	d, c := newDesk(t, 1)
	c.MaxTries = 3
	d.trouble = func(*http.Request, int) (int, http.Header) { return http.StatusBadGateway, nil }
	_, err := c.Run(t.Context(), 1)
	var status *StatusError
	if !errors.As(err, &status) || status.Status != http.StatusBadGateway || d.requests != 3 {
		t.Errorf("%d requests, %v", d.requests, err)
	}
}

func TestClientStopsAtABadRequest(t *testing.T) {
	d, c := newDesk(t, 1)
	d.trouble = func(r *http.Request, n int) (int, http.Header) {
		if r.URL.Path != "/login" && r.URL.Path != "/label/api/claim" {
			return http.StatusUnprocessableEntity, nil
		}
		return 0, nil
	}
	var status *StatusError
	if done, err := c.Run(t.Context(), 0); done != 0 || !errors.As(err, &status) || status.Status != http.StatusUnprocessableEntity {
		t.Errorf("done %d, %v", done, err)
	}
}

func TestClientLeavesTakenTasksToOthers(t *testing.T) {
	d, c := newDesk(t, 4)
	d.trouble = func(r *http.Request, n int) (int, http.Header) {
		if r.URL.Path == "/label/api/assignments/a2/submit" {
			return http.StatusConflict, nil
		}
		return 0, nil
	}
	if done, err := c.Run(t.Context(), 0); done != 3 || err != nil {
		t.Errorf("done %d, %v", done, err)
	}
}

func TestClientSignsInAgain(t *testing.T) {
	d, c := newDesk(t, 2)
	if done, err := c.Run(t.Context(), 1); done != 1 || err != nil {
		t.Fatalf("done %d, %v", done, err)
	}
	d.forget = true
	if done, err := c.Run(t.Context(), 1); done != 1 || err != nil || d.logins != 2 {
		t.Errorf("done %d, %d sign-ins, %v", done, d.logins, err)
	}
	c.Labeler.Password = "wrong"
	d.forget = true
	var status *StatusError
	if _, err := c.Run(t.Context(), 1); !errors.As(err, &status) || status.Status != http.StatusUnauthorized {
		t.Errorf("wrong password: %v", err)
	}
}

func TestClientEndsWithItsContext(t *testing.T) {
	d, c := newDesk(t, 1)
	d.trouble = func(*http.Request, int) (int, http.Header) {
		return http.StatusTooManyRequests, http.Header{"Retry-After": {"30"}}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := c.Run(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
}
