package web

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

// TestDisconnect: a client that goes away frees its place, and what it used is counted.
func TestDisconnect(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key("acme")
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, post, w.http.URL+"/v1/chat/completions",
		strings.NewReader(`{"model":"default","messages":[{"role":"user","content":"Hi"}],"max_tokens":240,"logit_bias":{"50256":-100},"stream":true,"n":16}`))
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	w.must(err)
	_, err = bufio.NewReader(res.Body).ReadString('\n')
	w.must(err)
	cancel()
	res.Body.Close()
	deadline := time.Now().Add(10 * time.Second)
	for w.count(`SELECT count(*) FROM usage WHERE finish = 'cancelled' AND completion_tokens < 16 * 240`) != 1 {
		if time.Now().After(deadline) {
			t.Fatalf("no row of a cancelled request: %d rows", w.count(`SELECT count(*) FROM usage`))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestLongStream: the time allowed for reading a request does not end a long answer.
func TestLongStream(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key("acme")
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.handler.ServeHTTP(&slowWriter{rw}, r)
	}))
	srv.Config.ReadTimeout = 200 * time.Millisecond
	srv.Start()
	defer srv.Close()
	for _, stream := range []string{"true", "false"} {
		req, err := http.NewRequestWithContext(t.Context(), post, srv.URL+"/v1/chat/completions",
			strings.NewReader(`{"model":"default","messages":[{"role":"user","content":"Hi"}],"max_tokens":30,"logit_bias":{"50256":-100},"stream":`+stream+`}`))
		w.must(err)
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		w.must(err)
		var b strings.Builder
		_, err = bufio.NewReader(res.Body).WriteTo(&b)
		res.Body.Close()
		if err != nil || stream == "true" && !strings.HasSuffix(b.String(), "[DONE]\n\n") {
			t.Errorf("stream %s: %v, ends %q", stream, err, b.String()[max(0, b.Len()-120):])
		}
	}
}

// slowWriter takes 20 ms for each write.
type slowWriter struct{ http.ResponseWriter }

func (s *slowWriter) Write(b []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return s.ResponseWriter.Write(b)
}
func (s *slowWriter) Flush()                      { s.ResponseWriter.(http.Flusher).Flush() }
func (s *slowWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// TestSender: events wait until there is nothing more to go out with them, up to a bound, and never change places.
func TestSender(t *testing.T) {
	w := &countingWriter{ResponseRecorder: httptest.NewRecorder()}
	c, _ := gin.CreateTestContext(w)
	c.Request = httptest.NewRequest(http.MethodGet, "/", nil)
	out := startStream(c)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []string{"a", "b"} {
		must(out.gather(append(out.pending, s...)))
	}
	if w.writes != 0 {
		t.Errorf("%d writes before a flush", w.writes)
	}
	must(out.flush())
	must(out.flush()) // of nothing
	must(out.gather(append(out.pending, "c"...)))
	must(out.send([]byte("d")))
	if got := w.Body.String(); got != "abcd" || w.writes != 2 {
		t.Errorf("%q in %d writes", got, w.writes)
	}
	must(out.gather(append(out.pending, make([]byte, mostEvents)...)))
	if w.writes != 3 || len(out.pending) != 0 {
		t.Errorf("%d writes, %d bytes are pending", w.writes, len(out.pending))
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.Request = c.Request.WithContext(ctx)
	cancel()
	if out.send([]byte("e")) == nil {
		t.Error("an event went out to a client that has gone")
	}
}

type countingWriter struct {
	*httptest.ResponseRecorder
	writes int
}

func (w *countingWriter) Write(b []byte) (int, error) {
	w.writes++
	return w.ResponseRecorder.Write(b)
}
