package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
)

// Limits of a request's body in bytes.
const (
	maxBodyPage = 64 << 10
	maxBodyAPI  = 1 << 20
)

// policy is the content security policy: nothing but this server's own files, no inline script or style, no sink
// that parses HTML.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

type contextKey int

const requestIDKey contextKey = 0

// requestID is the id that the answer's header and the log name.
func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey).(string)
	return id
}

// guard is the outermost handler: a request id, headers, body limits, and no cross-site requests.
func (s *server) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, status(http.StatusForbidden, "cross-site request refused"))
	}))
	inner := cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := uuid.NewV7()
		if err != nil {
			id = uuid.New()
		}
		s.headers(w.Header())
		w.Header().Set("X-Request-Id", id.String())
		limit := int64(maxBodyPage)
		if shapeOf(r) == shapeOpenAI || strings.HasPrefix(r.URL.Path, "/api/") {
			limit = maxBodyAPI
		}
		switch {
		case r.Method != http.MethodPost:
		case r.URL.Path == importPath:
			limit = maxUpload
		case r.URL.Path == comparePath:
			limit = maxBodyAPI
		case r.URL.Path == rewardPath:
			limit = maxBodyReward
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		if shapeOf(r) == shapeOpenAI {
			w = &timedWriter{ResponseWriter: w, began: time.Now()}
		}
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey, id.String())))
	})
}

// timedWriter says in the header how long it took until there was an answer, whatever the answer is.
type timedWriter struct {
	http.ResponseWriter
	began time.Time
	said  bool
}

func (w *timedWriter) say() {
	if !w.said {
		w.said = true
		w.Header().Set("Openai-Processing-Ms", strconv.FormatInt(time.Since(w.began).Milliseconds(), 10))
	}
}

func (w *timedWriter) WriteHeader(code int) {
	w.say()
	w.ResponseWriter.WriteHeader(code)
}

func (w *timedWriter) Write(b []byte) (int, error) {
	w.say()
	return w.ResponseWriter.Write(b)
}

// Flush is for gin, which asks the writer itself.
func (w *timedWriter) Flush() { http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (s *server) headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=(), interest-cohort=()")
	h.Set("Cache-Control", "no-store")
	if s.HTTPS {
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
}

// refuse answers outside of gin.
func refuse(w http.ResponseWriter, r *http.Request, p *problem) {
	switch shapeOf(r) {
	case shapeOpenAI:
		e := openai.Forbidden(p.Detail)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(e.Status)
		w.Write(e.Body())
	case shapeProblem:
		p.Type, p.Instance = "about:blank", "urn:uuid:"+requestID(r)
		writeJSON(w, p.Status, "application/problem+json", p)
	default:
		http.Error(w, p.Title+": "+p.Detail, p.Status)
	}
}

// recovery turns a panic into a 500 without a word about its cause, which goes to the log.
func (s *server) recovery(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		s.Log.ErrorContext(c.Request.Context(), "panic", "request", requestID(c.Request), "method", c.Request.Method, "route", c.FullPath(), "panic", v, "stack", string(debug.Stack()))
		if c.Writer.Written() {
			panic(http.ErrAbortHandler) // a half answer must not look whole
		}
		s.fail(c, status(http.StatusInternalServerError, "something went wrong here"))
	}()
	c.Next()
}

// access is who may use a route.
type access int

const (
	denied    access = iota // the zero value: a route without a rule
	anyone                  // without signing in
	signedIn                // with a session, whatever the role
	labelers                // with a session whose role labels
	reviewers               // with a session whose role decides on reported tasks
	readers                 // with a session whose role sees how labeling and training go
	insiders                // with a session whose role is a reader's or a reviewer's
	admins                  // with a session whose role administers
	keys                    // with an API key of the route's scope
	docs                    // with a session or an API key; for pages that hold no data
)

// lets says whether a rule for sessions lets the role in.
func (a access) lets(r account.Role) bool {
	switch a {
	case signedIn:
		return true
	case labelers:
		return r.Labels()
	case reviewers:
		return r.Reviews()
	case readers:
		return r.Reads()
	case insiders:
		return r.Reads() || r.Reviews()
	case admins:
		return r.Admin()
	}
	return false
}

// admit applies the rule of the matched route; a request that matched none goes on to the 404 or 405.
func (s *server) admit(c *gin.Context) {
	if c.FullPath() == "" {
		return
	}
	rule := s.rules[c.Request.Method+" "+c.FullPath()]
	var err error
	switch rule {
	case anyone:
		return
	case keys:
		err = s.useKey(c)
	case docs:
		if c.GetHeader("Authorization") != "" {
			err = s.useKey(c)
		} else {
			err = s.useSession(c)
		}
	case signedIn, labelers, reviewers, readers, insiders, admins:
		if err = s.useSession(c); err == nil && !rule.lets(user(c).Role) {
			err = status(http.StatusForbidden, "your role does not allow this")
		}
	default:
		err = status(http.StatusForbidden, "no rule allows this")
	}
	if id := c.Param("id"); err == nil && id != "" && !ownIDs(c.FullPath()) && (len(id) != 36 || uuid.Validate(id) != nil) {
		err = status(http.StatusNotFound, "there is no such thing, or not for you")
	}
	switch {
	case err == nil:
	case errors.Is(err, account.ErrDenied) && shapeOf(c.Request) == shapePage && c.Request.Method == http.MethodGet:
		c.Redirect(http.StatusFound, loginURL(c.Request.URL.Path))
		c.Abort()
	default:
		s.fail(c, err)
	}
}

// ownIDs says that the :id of a route is no UUID: its handler looks at it.
func ownIDs(route string) bool {
	return strings.HasPrefix(route, "/admin/keys/:id") || strings.HasPrefix(route, "/v1/")
}

const (
	userKey = "user"
	apiKey  = "key"
)

func user(c *gin.Context) account.User { return c.MustGet(userKey).(account.User) }

func actor(c *gin.Context) string { return "user:" + user(c).ID }

func (s *server) useSession(c *gin.Context) error {
	cookie, err := c.Request.Cookie(s.cookieName())
	if err != nil {
		return account.ErrDenied
	}
	u, err := s.Accounts.Session(c.Request.Context(), cookie.Value)
	if err == nil {
		c.Set(userKey, u)
	}
	return err
}

func (s *server) useKey(c *gin.Context) error {
	scheme, token, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	if _, password, ok := c.Request.BasicAuth(); ok && c.FullPath() == rewardPath {
		scheme, token = "Bearer", password // OpenRLHF sends no headers of its own, but takes https://reward:KEY@host
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return account.ErrDenied
	}
	k, err := s.Accounts.Authenticate(c.Request.Context(), strings.TrimSpace(token))
	if err != nil {
		return err
	}
	if scope := s.scopeOf(c.Request.Method + " " + c.FullPath()); scope != anyScope && !k.Allows(scope) {
		return status(http.StatusForbidden, fmt.Sprintf("this key may not be used here: it lacks the scope %s", scope))
	}
	c.Set(apiKey, k)
	return nil
}

// anyScope lets every key in.
const anyScope = "*"

// scopeOf is what a key must be allowed for a route: completions, unless the route says otherwise.
func (s *server) scopeOf(route string) string {
	if scope, ok := s.scopes[route]; ok {
		return scope
	}
	if s.rules[route] == docs {
		return anyScope
	}
	return account.ScopeCompletions
}

// deadline bounds the request and the writing of its answer; streams lift it again.
func (s *server) deadline(c *gin.Context) {
	if s.streams[c.Request.Method+" "+c.FullPath()] {
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.RequestTimeout)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	controller(c).SetWriteDeadline(time.Now().Add(s.RequestTimeout + 5*time.Second)) // writers without deadlines (tests) say so; that is fine
	c.Next()
}

// controller reaches the connection behind gin's writer.
func controller(c *gin.Context) *http.ResponseController {
	var w http.ResponseWriter = c.Writer
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = u.Unwrap()
	}
	return http.NewResponseController(w)
}

func randomID(prefix string) string {
	b := make([]byte, 12)
	rand.Read(b)
	return prefix + hex.EncodeToString(b)
}
