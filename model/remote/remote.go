package remote

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Server is where to ask, and what.
type Server struct {
	URL     string        // what stands before /chat/completions, such as http://10.0.0.5:8000/v1
	Model   string        // its name there
	Key     string        // sent as a Bearer token; empty: none
	Timeout time.Duration // of one request
}

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user or assistant
	Content string `json:"content"`
}

// Request asks for N answers to a conversation.
type Request struct {
	Messages    []Message
	N           int
	MaxTokens   int // of one answer
	Temperature float64
	Seed        uint64
}

// Answer is one of the texts that came.
type Answer struct {
	Text   string
	Finish string // stop, length or what the server calls it; empty where it does not say
}

// Reply is what a server answered, possibly in several requests.
type Reply struct {
	Answers  []Answer
	Model    string // as the server calls it; empty where it does not say
	Requests int    // that were sent, tries that failed too
	Tokens   int    // of prompts and answers together, as the server counted; 0 where it does not count
}

// Doer sends a request: an http.Client.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Client asks. The zero value of what is not HTTP is usable.
type Client struct {
	HTTP  Doer
	Sleep func(ctx context.Context, d time.Duration) error // nil: by the clock
}

// Kind is why a server gave no answer.
type Kind string

// Kinds of errors.
const (
	Unreachable Kind = "unreachable" // no connection, or it broke
	Forbidden   Kind = "forbidden"   // the client may not dial that address
	Late        Kind = "late"        // no answer within the time limit
	Key         Kind = "key"         // 401 or 403
	Missing     Kind = "missing"     // 404: no such model, or another address
	Busy        Kind = "busy"        // 429
	Refused     Kind = "refused"     // another 4xx
	Failed      Kind = "failed"      // 5xx
	Redirect    Kind = "redirect"    // 3xx, which is not followed
	Garbled     Kind = "garbled"     // the answer is no chat completion
	Large       Kind = "large"       // the answer is larger than MaxBody
	Empty       Kind = "empty"       // a chat completion without text
)

// Error says why there is no answer. It holds nothing that the server said but its status.
type Error struct {
	Kind   Kind
	Status int           // 0: none came
	After  time.Duration // Retry-After; 0: not said
}

func (e *Error) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("remote: %s (status %d)", e.Kind, e.Status)
	}
	return "remote: " + string(e.Kind)
}

// Passing says whether trying again may help.
func (e *Error) Passing() bool {
	return e.Kind == Unreachable || e.Kind == Late || e.Kind == Busy || e.Kind == Failed
}

// Bounds of what is read and of how long one goes on.
const (
	MaxBody  = 4 << 20 // bytes of an answer
	MaxText  = 40_000  // bytes of one answer's text; longer ones are cut
	attempts = 3       // of one request
	backoff  = 500 * time.Millisecond
	maxWait  = 30 * time.Second // longer waits than that are not waited for
)

// Chat asks until there are N answers; it returns what it has where a server answers some and then no more, with the error. What
// was used is counted in any case.
func (c *Client) Chat(ctx context.Context, s Server, r Request) (Reply, error) {
	var reply Reply
	for left := r.N; left > 0; left = r.N - len(reply.Answers) {
		part := r
		part.N, part.Seed = left, r.Seed+uint64(len(reply.Answers))
		if err := c.patient(ctx, s, part, &reply); err != nil {
			return reply, err
		}
	}
	return reply, nil
}

// patient asks once, and again where that may help.
func (c *Client) patient(ctx context.Context, s Server, r Request, reply *Reply) error {
	wait := backoff
	for try := 1; ; try++ {
		reply.Requests++
		e := c.once(ctx, s, r, reply)
		switch {
		case e == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !e.Passing() || try == attempts || e.After > maxWait:
			return e
		}
		if err := c.sleep(ctx, max(wait, e.After)); err != nil {
			return err
		}
		wait *= 2
	}
}

func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	if c.Sleep != nil {
		return c.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
