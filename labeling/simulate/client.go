package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client labels for one Labeler over HTTP: it signs in, claims a task, ranks its answers by the world's gold score
// and submits, as the page at /label does for a person. A Client is for one goroutine.
type Client struct {
	// BaseURL is the server's root, for example http://127.0.0.1:8080.
	BaseURL string
	Labeler Labeler
	World   World
	// HTTP may be nil: then a client with its own cookie jar and a 30 s timeout is made. A client given here needs a
	// cookie jar of its own and must not follow redirects away from the server.
	HTTP *http.Client
	// MaxTries bounds how often one request is tried when the server is busy or unreachable; 0 means 8.
	MaxTries int
	// Backoff is the first pause between tries, doubled each time up to 5 s; 0 means 100 ms. A Retry-After header
	// overrides it.
	Backoff time.Duration

	signedIn bool
	rng      *rand.Rand
}

// StatusError is an answer of the server that the client cannot work with.
type StatusError struct {
	Op     string // what was asked, for example "claim"
	Status int
	Body   string // the first 300 bytes
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("simulate: %s: server says %d %s: %s", e.Op, e.Status, http.StatusText(e.Status), e.Body)
}

// assignment is what a claim returns, as far as a labeler reads it.
type assignment struct {
	ID       string `json:"assignment"`
	Messages []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
	Answers []struct {
		Key  string `json:"key"`
		Text string `json:"text"`
	} `json:"answers"`
}

type submission struct {
	Ranks    []int  `json:"ranks"`
	Comment  string `json:"comment"`
	ActiveMS int64  `json:"active_ms"`
	WallMS   int64  `json:"wall_ms"`
}

// Run labels up to n tasks (n <= 0: as many as there are) and returns how many rankings were acknowledged. It ends
// early without an error when the server has no task left. A task that was taken over meanwhile (409) is left to the
// other. Run may be called again: it stays signed in.
func (c *Client) Run(ctx context.Context, n int) (done int, err error) {
	if err := c.init(); err != nil {
		return 0, err
	}
	for n <= 0 || done < n {
		a, err := c.claim(ctx)
		if err != nil || a == nil {
			return done, err
		}
		ok, err := c.submit(ctx, a)
		if err != nil {
			return done, err
		}
		if ok {
			done++
		}
	}
	return done, nil
}

func (c *Client) init() error {
	if c.HTTP == nil {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return fmt.Errorf("simulate: cookie jar: %w", err)
		}
		c.HTTP = &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	}
	if c.HTTP.Jar == nil {
		return errors.New("simulate: the HTTP client needs a cookie jar")
	}
	if c.rng == nil {
		c.rng = rand.New(rand.NewPCG(c.Labeler.Seed, 1))
	}
	return nil
}

func (c *Client) claim(ctx context.Context) (*assignment, error) {
	status, body, err := c.call(ctx, "claim", "/label/api/claim", nil, nil)
	if err != nil || status == http.StatusNoContent {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, &StatusError{"claim", status, clip(body)}
	}
	a := new(assignment)
	if err := json.Unmarshal(body, a); err != nil {
		return nil, fmt.Errorf("simulate: claim: %w", err)
	}
	if a.ID == "" || len(a.Answers) == 0 {
		return nil, errors.New("simulate: claim: the task has no answers")
	}
	return a, nil
}

// submit ranks and sends; false means that the task went to somebody else.
func (c *Client) submit(ctx context.Context, a *assignment) (bool, error) {
	answers := make([]string, len(a.Answers))
	read := 0
	for i, x := range a.Answers {
		answers[i] = strings.TrimSpace(x.Text)
		read += len(words(answers[i]))
	}
	sub := submission{Ranks: c.Labeler.Rank(c.World, promptOf(a), answers)}
	sub.ActiveMS = int64(float64(read) * (200 + 100*c.rng.Float64())) // the time that a person would have read
	sub.WallMS = sub.ActiveMS + int64(3000*c.rng.ExpFloat64())
	body, err := json.Marshal(sub)
	if err != nil {
		return false, fmt.Errorf("simulate: submit %s: %w", a.ID, err)
	}
	head := http.Header{"Idempotency-Key": {"sim-" + a.ID}}
	status, answer, err := c.call(ctx, "submit", "/label/api/assignments/"+url.PathEscape(a.ID)+"/submit", body, head)
	switch {
	case err != nil:
		return false, err
	case status == http.StatusOK:
		return true, nil
	case status == http.StatusConflict || status == http.StatusGone:
		return false, nil
	}
	return false, &StatusError{"submit", status, clip(answer)}
}

// promptOf is the last thing that the user said.
func promptOf(a *assignment) string {
	for i := len(a.Messages) - 1; i >= 0; i-- {
		if m := a.Messages[i]; strings.EqualFold(m.Role, "user") {
			return m.Content
		}
	}
	if len(a.Messages) > 0 {
		return a.Messages[len(a.Messages)-1].Content
	}
	return ""
}

// call posts, signed in. 429 and 5xx answers and broken connections are tried again; a session that has ended is
// renewed once.
func (c *Client) call(ctx context.Context, op, path string, body []byte, head http.Header) (int, []byte, error) {
	for renewed := false; ; renewed = true {
		if !c.signedIn {
			if err := c.signIn(ctx); err != nil {
				return 0, nil, err
			}
		}
		status, answer, err := c.try(ctx, op, path, "application/json", body, head)
		if err == nil && (status == http.StatusUnauthorized || status == http.StatusSeeOther) && !renewed {
			c.signedIn = false
			continue
		}
		return status, answer, err
	}
}

func (c *Client) signIn(ctx context.Context) error {
	form := url.Values{"email": {c.Labeler.Email}, "password": {c.Labeler.Password}}.Encode()
	status, body, err := c.try(ctx, "sign in", "/login", "application/x-www-form-urlencoded", []byte(form), nil)
	if err != nil {
		return err
	}
	if status != http.StatusSeeOther && status != http.StatusOK && status != http.StatusNoContent {
		return &StatusError{"sign in as " + c.Labeler.Email, status, clip(body)}
	}
	c.signedIn = true
	return nil
}

// try posts until the server answers with anything but 429 or 5xx, at most MaxTries times.
func (c *Client) try(ctx context.Context, op, path, kind string, body []byte, head http.Header) (int, []byte, error) {
	tries := c.MaxTries
	if tries <= 0 {
		tries = 8
	}
	pause := c.Backoff
	if pause <= 0 {
		pause = 100 * time.Millisecond
	}
	for i := 1; ; i++ {
		status, answer, wait, err := c.post(ctx, path, kind, body, head)
		if err == nil && status != http.StatusTooManyRequests && status < 500 {
			return status, answer, nil
		}
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		if i >= tries {
			if err != nil {
				return 0, nil, fmt.Errorf("simulate: %s: %w", op, err)
			}
			return 0, nil, &StatusError{op, status, clip(answer)}
		}
		if wait <= 0 {
			wait = pause/2 + time.Duration(c.rng.Int64N(int64(pause))) // jitter keeps the crowd apart
			pause = min(2*pause, 5*time.Second)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0, nil, ctx.Err()
		case <-timer.C:
		}
	}
}

func (c *Client) post(ctx context.Context, path, kind string, body []byte, head http.Header) (status int, answer []byte, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.BaseURL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, 0, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Accept", "application/json")
	for k, v := range head {
		req.Header[k] = v
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return 0, nil, 0, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return 0, nil, 0, err
	}
	return res.StatusCode, answer, retryAfter(res.Header.Get("Retry-After")), nil
}

// retryAfter reads seconds or a date; a minute is the most it will wait.
func retryAfter(s string) time.Duration {
	if s == "" {
		return 0
	}
	if n, err := strconv.Atoi(s); err == nil {
		return min(max(time.Duration(n)*time.Second, 0), time.Minute)
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(max(time.Until(t), 0), time.Minute)
	}
	return 0
}

func clip(b []byte) string {
	if len(b) > 300 {
		b = b[:300]
	}
	return strings.TrimSpace(string(b))
}
