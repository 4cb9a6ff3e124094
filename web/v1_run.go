package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/trace"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/kernel"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
	"github.com/rankloop/rankloop/web/stored"
)

// job is one request of the API on its way through the engine: prompts, each answered n times.
type job struct {
	*Served
	endpoint string
	param    string // the field that holds the prompt, for errors
	prompts  []Prompt
	n        int           // choices of each prompt that are given
	draw     int           // choices of each prompt that are drawn; the best n of them are given
	echo     bool          // log-probabilities of the prompts are wanted
	mute     bool          // max_tokens is 0: the token that the engine draws anyway is neither given nor counted
	params   decode.Params // of the first choice; the others draw from random numbers of their own
	key      account.Key   // ID empty: the chat page
	userID   string
	started  time.Time

	conversation string // at the chat page
	training
	counted Counted // for the guards of a canary
	heard   []heard // of each choice, where it is counted

	hold    *hold // what of the key's limits is set aside
	cancel  context.CancelFunc
	streams []*decode.Stream   // of each prompt, all choices
	keep    *stored.Completion // what the customer asked to keep, once it is known; nil: nothing
	ended   string             // how choice 0 did
	finish  string             // of choice 0, for the usage row
	settled bool
	span    trace.Span // of the work of the engine; nil: ended, or not begun

	promptToks, cached, drawn int // tokens of prompts; of these, not read again; of all choices drawn, without those that end a text
}

// newJob reads what both kinds of requests share.
func newJob(v *Served, r *openai.Sampling, endpoint, param string) *job {
	seed := randomSeed()
	if r.Seed != nil {
		seed = uint64(*r.Seed)
	}
	j := &job{Served: v, endpoint: endpoint, param: param, n: r.Count(), draw: r.Count(), started: time.Now(), finish: "error",
		training: trainingOf(r),
		params: decode.Params{Temperature: openai.Value(r.Temperature, 1), TopP: openai.Value(r.TopP, 1), Seed: seed, Stop: r.Stop,
			PresencePenalty: openai.Value(r.PresencePenalty, 0), FrequencyPenalty: openai.Value(r.FrequencyPenalty, 0)}}
	if len(r.LogitBias) > 0 {
		j.params.LogitBias = map[int32]float32{}
		for id, b := range r.LogitBias {
			if n, err := strconv.ParseInt(id, 10, 32); err == nil { // openai has checked it
				j.params.LogitBias[int32(n)] = float32(b)
			}
		}
	}
	return j
}

// randomSeed has 53 bits, so that a client whose numbers are floats can ask for the same again.
func randomSeed() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:]) >> 11
}

// bound sets how many tokens an answer may have: what was asked for, which must fit, or else what fits.
func (j *job) bound(asked, most int) *openai.Error {
	longest := 0
	for _, p := range j.prompts {
		longest = max(longest, len(p.TokenIDs))
		j.promptToks += len(p.TokenIDs)
	}
	room := j.Context - longest
	if j.mute {
		room++ // the token that is not given need not fit
	}
	switch {
	case asked > 0 && asked > room || room < 1:
		return openai.ContextLengthExceeded(j.param, j.Context, longest, max(asked, 1))
	case asked > most:
		return openai.Invalid("max_tokens", "integer_above_max_value", "Invalid 'max_tokens': this server gives at most %d tokens.", most)
	case asked == 0:
		asked = min(room, most)
	}
	j.params.MaxTokens = asked
	return nil
}

// start sets aside what the request may use of its key's limits and hands it to the engine; the caller calls j.end. A request that is
// refused has done nothing. The context ends with the request, and when j.end is called.
func (s *server) start(c *gin.Context, j *job) (context.Context, error) {
	if j.key.ID != "" {
		most := j.promptToks
		if !j.mute {
			most += len(j.prompts) * j.draw * j.params.MaxTokens
		}
		var err error
		if j.hold, err = s.reserve(c, j.key, most); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(c.Request.Context())
	j.cancel = cancel
	if err := j.submit(ctx); err != nil {
		j.settle()
		j.hold.end(0)
		var refused *openai.Error
		if !errors.As(err, &refused) && c.Request.Context().Err() == nil { // the request was right, and the engine could not take it
			s.observe(j)
		}
		return nil, err
	}
	return ctx, nil
}

// settle waits until the engine is done with the request, which may be cut short, and counts what it did.
func (j *job) settle() {
	if j.settled {
		return
	}
	j.settled = true
	j.cancel()
	for _, st := range j.streams {
		for more := true; more; {
			_, more, _ = st.Next(context.Background()) // why it was cut short is known by now
		}
		u := st.Usage()
		j.cached += u.Cached
		if !j.mute {
			j.drawn += u.Completion
		}
	}
}

// end lets go of the request, whose usage is recorded by now unless it panicked. It may be called more than once.
func (j *job) end() {
	j.settle()
	j.endSpan()
	j.hold.end(j.promptToks + j.drawn)
	j.hold = nil
}

// usage is complete when all choices have been read.
func (j *job) usage() openai.Usage {
	j.settle()
	return openai.NewUsage(j.promptToks, j.cached, j.drawn)
}

// submit queues all prompts, or none.
func (j *job) submit(ctx context.Context) (err error) {
	r := decode.Request{Params: j.params, N: j.n, BestOf: j.draw, Echo: j.echo, Customer: "customer " + j.userID, Key: "key " + j.key.ID}
	if j.key.ID == "" { // a person at the chat page
		r.Customer, r.Key, r.Priority = "person "+j.userID, "person "+j.userID, decode.PriorityLabels
	}
	ctx = j.startSpan(ctx)
	all := make([]decode.Request, len(j.prompts))
	for i, p := range j.prompts {
		r.Prompt, r.First = p.TokenIDs, i*j.draw // every choice draws from random numbers of its own
		all[i] = r
	}
	j.streams, err = j.Engine.SubmitAll(ctx, all)
	var wrong *model.InvalidError
	if errors.As(err, &wrong) {
		return openai.Invalid(paramName(wrong.Field, j.param), "invalid_value", "Invalid request: %s.", wrong.Reason)
	}
	return err
}

// paramName is what a client calls a field of the engine's.
func paramName(field, prompt string) string {
	switch {
	case strings.HasPrefix(field, "LogitBias"):
		return "logit_bias"
	case strings.HasPrefix(field, "Stop"):
		return "stop"
	case field == "N":
		return "n"
	case field == "BestOf":
		return "best_of"
	case strings.HasPrefix(field, "MaxTokens"):
		return "max_tokens"
	}
	return prompt
}

// next reads a token of a prompt's choices: t.Choice counts those of all prompts. more is false when all of the prompt are complete.
func (j *job) next(ctx context.Context, prompt int) (t decode.Token, more bool, err error) {
	t, more, err = j.streams[prompt].Next(ctx)
	if !more || err != nil {
		return t, more, err
	}
	t.Choice += prompt * j.n
	if !j.mute {
		j.training.note(t)
		j.hear(t)
	}
	if t.Choice == 0 && t.Finish != "" {
		j.ended = t.Finish
	}
	return t, true, nil
}

// whole reads all choices to their ends.
func (j *job) whole(ctx context.Context, each func(t decode.Token)) error {
	for i := range j.streams {
		for {
			t, more, err := j.next(ctx, i)
			if err != nil {
				return err
			}
			if !more {
				break
			}
			each(t)
		}
	}
	j.finish = j.ended
	return nil
}

// choices is how many there are, of all prompts.
func (j *job) choices() int { return len(j.prompts) * j.n }

// answerHeaders are the same for whole answers and streams.
func (j *job) answerHeaders(c *gin.Context) { c.Header(versionHeader, j.VersionID) }

// fingerprint changes with what an answer hangs on besides the request: the weights, the arithmetic of this machine's kernels, and the way in
// which tokens are drawn.
func (j *job) fingerprint() string {
	sum := sha256.Sum256([]byte(j.Digest + " " + kernel.Class() + " " + decode.Drawing))
	return "fp_" + hex.EncodeToString(sum[:5])
}

// sender writes server-sent events with a rolling deadline.
type sender struct {
	c       *gin.Context
	rc      *http.ResponseController
	pending []byte // events that go out with the next
}

const (
	slowReader = 15 * time.Second // how long a client may take to accept events
	mostEvents = 32 << 10         // bytes of events that are sent at once
)

// startStream sends the header of an event stream.
func startStream(c *gin.Context) *sender {
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	return &sender{c: c, rc: controller(c)}
}

// send writes one frame, and what is pending before it, and flushes them.
func (e *sender) send(frame []byte) error {
	e.pending = append(e.pending, frame...)
	return e.flush()
}

// sendFrame is send of a value.
func (e *sender) sendFrame(v any) error {
	frame, err := openai.Frame(v)
	if err != nil {
		return err
	}
	return e.send(frame)
}

// gather lets frames, which are e.pending and what was appended to it, wait for more to go out with them, up to a bound.
func (e *sender) gather(frames []byte) error {
	if e.pending = frames; len(frames) < mostEvents {
		return nil
	}
	return e.flush()
}

// flush writes what is pending.
func (e *sender) flush() error {
	if len(e.pending) == 0 {
		return nil
	}
	e.rc.SetWriteDeadline(time.Now().Add(slowReader)) // not every writer has deadlines (tests)
	_, err := e.c.Writer.Write(e.pending)
	e.pending = e.pending[:0]
	if err != nil {
		return err
	}
	e.c.Writer.Flush()
	return e.c.Request.Context().Err()
}
