package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/conversation"
	"github.com/rankloop/rankloop/web/openai"
	"github.com/rankloop/rankloop/web/setting"
	"github.com/rankloop/rankloop/web/stored"
)

// problem is what the world learns of an error. Its JSON is that of RFC 9457.
type problem struct {
	Type     string        `json:"type"` // always about:blank: the status says it
	Title    string        `json:"title"`
	Status   int           `json:"status"`
	Detail   string        `json:"detail,omitempty"`
	Instance string        `json:"instance,omitempty"` // the request's id
	Errors   []fieldError  `json:"errors,omitempty"`
	Retry    time.Duration `json:"-"` // Retry-After
}

type fieldError struct {
	Detail  string `json:"detail"`
	Pointer string `json:"pointer"`
}

func (p *problem) Error() string { return p.Title + " " + p.Detail }

// bad is a request that cannot be used; pointer names the field, as a JSON pointer in bodies.
func bad(pointer, reason string) *problem {
	p := &problem{Status: http.StatusBadRequest, Title: "Bad request", Detail: reason}
	if pointer != "" {
		p.Detail = strings.TrimPrefix(pointer, "/") + " " + reason
		p.Errors = []fieldError{{reason, pointer}}
	}
	return p
}

func invalid(field, reason string) *problem {
	return &problem{Status: http.StatusBadRequest, Title: "Bad request", Detail: field + ": " + reason, Errors: []fieldError{{reason, "/" + field}}}
}

func status(code int, detail string) *problem {
	return &problem{Status: code, Title: http.StatusText(code), Detail: detail}
}

// problemOf is the one table from errors of the rooms to answers. known is false for errors that nobody foresaw.
func problemOf(err error) (p *problem, known bool) {
	var (
		own      *problem
		accounts *account.InvalidError
		labels   *labeling.InvalidError
		rounds   *loop.InvalidError
		versions *registry.InvalidError
		runs     *run.InvalidError
		said     *conversation.InvalidError
		settings *setting.InvalidError
		models   *model.InvalidError
		frozen   *labeling.FrozenError
		tooLarge *http.MaxBytesError
		tooMany  *account.LimitError
		busy     *decode.BusyError
		noRoom   *NoRoomError
	)
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.As(err, &own):
		cp := *own
		return &cp, true
	case errors.As(err, &accounts):
		return invalid(accounts.Field, accounts.Reason), true
	case errors.As(err, &labels):
		return invalid(labels.Field, labels.Reason), true
	case errors.As(err, &rounds):
		return invalid(rounds.Field, rounds.Reason), true
	case errors.As(err, &versions):
		return invalid(versions.Field, versions.Reason), true
	case errors.As(err, &runs):
		return invalid(runs.Field, runs.Reason), true
	case errors.As(err, &said):
		return invalid(said.Field, said.Reason), true
	case errors.As(err, &settings):
		return invalid(settings.Field, settings.Reason), true
	case errors.As(err, &models):
		return invalid(models.Field, models.Reason), true
	case errors.As(err, &noRoom):
		return noRoom.problem(), true
	case errors.As(err, &tooLarge):
		return status(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)), true
	case errors.As(err, &tooMany):
		p := status(http.StatusTooManyRequests, "too many failed sign-ins; try again later")
		p.Retry = tooMany.RetryAfter
		return p, true
	case is(account.ErrDenied):
		return status(http.StatusUnauthorized, "sign in first"), true
	case is(ErrNoReward):
		return status(http.StatusNotFound, "there is no reward model yet: promote a policy that was trained by one, or a reward model"), true
	case is(account.ErrNotFound, conversation.ErrNotFound, setting.ErrNotFound, stored.ErrNotFound, labeling.ErrNotFound, loop.ErrNotFound, registry.ErrNotFound, run.ErrNotFound):
		return status(http.StatusNotFound, "there is no such thing, or not for you"), true
	case errors.As(err, &frozen):
		return status(http.StatusConflict, fmt.Sprintf("this ranking is frozen by the snapshot %s", frozen.Snapshot)), true
	case is(labeling.ErrUnqualified):
		return status(http.StatusForbidden, "this project asks you to qualify first: open /label/qualify"), true
	case is(labeling.ErrTooManyLeases):
		return status(http.StatusConflict, "you hold too many tasks at once: finish or release one"), true
	case is(labeling.ErrErased):
		return status(http.StatusConflict, "rows of the snapshot were erased: make a new one"), true
	case is(labeling.ErrCapped):
		return status(http.StatusConflict, "this project takes no more prompts from you: its limit for one person is reached"), true
	case is(conversation.ErrFull):
		return status(http.StatusConflict, "you keep as much as one person may here: delete some of it, or begin a new conversation"), true
	case is(setting.ErrConflict):
		return status(http.StatusConflict, "somebody else has changed this setting since you opened the page: look at its history, and decide again"), true
	case is(account.ErrConflict):
		return status(http.StatusConflict, "that is taken, or the last owner or admin would be gone"), true
	case is(labeling.ErrConflict):
		return status(http.StatusConflict, "the task is in another state by now: its lease ran out, or it was submitted before"), true
	case is(loop.ErrConflict):
		return status(http.StatusConflict, "the round is in another state, or another round is still open"), true
	case is(registry.ErrCanaryOpen):
		return status(http.StatusConflict, "another canary is under way: abort it first, or let it end"), true
	case is(registry.ErrCanaryEnded):
		return status(http.StatusConflict, "the canary has ended, or moved on to another step: look at it again"), true
	case is(registry.ErrConflict, run.ErrConflict):
		return status(http.StatusConflict, "there is nothing to go back to, the weights were removed, or the state has changed: look at it again"), true
	case is(decode.ErrBusy, decode.ErrMemory, decode.ErrClosed, account.ErrBusy, ErrNotServing, context.DeadlineExceeded), unavailable(err):
		p := status(http.StatusServiceUnavailable, "the service is busy or not ready; try again")
		p.Retry = time.Second
		if errors.As(err, &busy) {
			p.Retry = max(p.Retry, busy.After)
		}
		return p, true
	case is(context.Canceled): // the client has gone
		return status(499, "client closed request"), true
	}
	return status(http.StatusInternalServerError, "something went wrong here"), false
}

// openAI gives the error the shape of OpenAI's.
func (p *problem) openAI(id string) *openai.Error {
	switch p.Status {
	case http.StatusUnauthorized:
		return openai.Unauthorized()
	case http.StatusForbidden:
		return openai.Forbidden(p.Detail)
	case http.StatusRequestEntityTooLarge:
		return openai.TooLarge(maxBodyAPI)
	case http.StatusTooManyRequests:
		return openai.RateLimited(openai.LimitRequests, p.Detail)
	case http.StatusServiceUnavailable:
		return openai.Overloaded()
	case http.StatusInternalServerError:
		return openai.Internal(id)
	}
	param := ""
	if len(p.Errors) > 0 {
		param = strings.TrimPrefix(p.Errors[0].Pointer, "/")
	}
	e := openai.Invalid(param, "", "%s", cmp.Or(p.Detail, p.Title))
	e.Status = p.Status
	return e
}

// fail answers with the error, in the shape that the path asks for, and ends the request.
func (s *server) fail(c *gin.Context, err error) {
	c.Abort()
	id := requestID(c.Request)
	var e *openai.Error
	if errors.As(err, &e) && shapeOf(c.Request) != shapeOpenAI {
		err, e = status(e.Status, e.Message), nil
	}
	if e == nil {
		p, known := problemOf(err)
		if !known || p.Status >= 500 && !errors.Is(err, decode.ErrBusy) && !errors.Is(err, decode.ErrMemory) {
			s.Log.ErrorContext(c.Request.Context(), "request failed", "request", id, "method", c.Request.Method, "route", c.FullPath(), "status", p.Status, "error", err)
		}
		if c.Writer.Written() {
			return
		}
		if p.Retry > 0 {
			c.Header("Retry-After", seconds(p.Retry))
		}
		if !strings.HasPrefix(c.Request.URL.Path, "/api/") { // read by people; programs get English
			p = p.in(s.language(c))
		}
		switch shapeOf(c.Request) {
		case shapePage:
			s.errorPage(c, p)
			return
		case shapeProblem:
			p.Type, p.Instance = "about:blank", "urn:uuid:"+id
			writeJSON(c.Writer, p.Status, "application/problem+json", p)
			return
		}
		e = p.openAI(id)
	}
	if c.Writer.Written() {
		return
	}
	if e.Status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Bearer realm="rankloop"`)
	}
	if (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable) && c.Writer.Header().Get("Retry-After") == "" {
		c.Header("Retry-After", "1")
	}
	c.Data(e.Status, "application/json", e.Body())
}

func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}

// writeJSON writes v; encoding it cannot fail for the types used here.
func writeJSON(w http.ResponseWriter, code int, kind string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(code)
	w.Write(b)
}

// shape is how a path speaks.
type shape int

const (
	shapePage    shape = iota // HTML
	shapeProblem              // JSON with problem+json errors
	shapeOpenAI               // JSON with OpenAI's errors
)

func shapeOf(r *http.Request) shape {
	p := r.URL.Path
	switch {
	case p == "/v1" || strings.HasPrefix(p, "/v1/"):
		return shapeOpenAI
	case strings.HasPrefix(p, "/api/"), strings.HasPrefix(p, "/label/api/"), strings.HasPrefix(p, "/admin/api/"), strings.HasPrefix(p, "/chat/api/"):
		return shapeProblem
	}
	return shapePage
}
