package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/web/account"
)

func TestRateLimit(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key("acme", func(n *account.NewKey) { n.RPM = 3 })
	_, other := w.key("other", func(n *account.NewKey) { n.RPM = 3 })
	b := w.withKey(secret)
	for i := range 3 {
		got := b.get("/v1/models").want(t, http.StatusOK)
		if got.head.Get("X-Ratelimit-Limit-Requests") != "3" || got.head.Get("X-Ratelimit-Remaining-Requests") != string(rune('2'-i)) {
			t.Errorf("headers %v", got.head)
		}
		if _, err := time.ParseDuration(got.head.Get("X-Ratelimit-Reset-Requests")); err != nil {
			t.Error(err)
		}
	}
	got := b.json(post, "/v1/chat/completions", `{"model":"default","messages":[{"role":"user","content":"Hi"}]}`).want(t, http.StatusTooManyRequests)
	if got.head.Get("Retry-After") == "" || got.head.Get("Retry-After") == "0" || !strings.Contains(got.body, `"rate_limit_exceeded"`) {
		t.Errorf("%v %s", got.head, got.body)
	}
	w.withKey(other).get("/v1/models").want(t, http.StatusOK)

	slow := newWorld(t, func(c *Config, _ *Deps) { c.LabelsPerMinute = 2 })
	for range 3 {
		slow.addTask(says("Tell "+time.Now().String()), demoAnswers...)
	}
	mina := slow.as("mina", account.RoleLabeler)
	for i, code := range []int{200, 200, 429} {
		var a task
		mina.json(post, "/label/api/claim", nil).want(t, http.StatusOK).into(t, &a)
		got := mina.json(post, "/label/api/assignments/"+a.Assignment+"/submit", `{"ranks":[1,2,3,4]}`, "Idempotency-Key", a.Assignment).want(t, code)
		if code == 429 && (got.head.Get("Retry-After") == "" || got.head.Get("Content-Type") != "application/problem+json") {
			t.Errorf("submit %d: %v", i, got.head)
		}
	}
	if n := slow.count(`SELECT count(*) FROM rankings`); n != 2 {
		t.Errorf("%d rankings", n)
	}
}

// TestLimiter refills evenly.
func TestLimiter(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimiter(func() time.Time { return now })
	take := func() bool { ok, _, _, _ := l.take("x", 60); return ok }
	for i := range 60 {
		if !take() {
			t.Fatalf("refused at %d", i)
		}
	}
	if ok, left, reset, wait := l.take("x", 60); ok || left != 0 || reset != time.Minute || wait != time.Second {
		t.Errorf("%v %d %v %v", ok, left, reset, wait)
	}
	now = now.Add(2500 * time.Millisecond)
	if !take() || !take() || take() {
		t.Error("2.5 s are not two tokens")
	}
	now = now.Add(time.Hour)
	l.take("y", 60)
	if len(l.buckets) != 1 {
		t.Errorf("%d buckets kept", len(l.buckets))
	}
}
