package web

import (
	"bufio"
	"cmp"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Meter counts what the server does, and reads what the engine does. Its handler is for a listener of its own that only this machine
// reaches: who serves when, and how much, is nobody else's business.
type Meter struct {
	serving Serving
	began   time.Time

	mu       sync.Mutex
	answers  map[answered]*spent
	refusals map[string]int64 // of limits, by what ran out

	sources  *Watched // nil: the database is not asked
	watching sync.Mutex
	last     watched
}

// answered is a kind of answer. Routes are as they are registered, so that there are only so many.
type answered struct {
	method, route string
	code          int
}

// buckets are the upper bounds of the histogram of answers in seconds: pages are meant to take less than a tenth, streams take long.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30}

type spent struct {
	n       int64
	seconds float64
	within  [11]int64 // how many took no longer than each of the buckets
}

// NewMeter reads the engine of what serves.
func NewMeter(serving Serving) *Meter {
	return &Meter{serving: serving, began: time.Now(), answers: map[answered]*spent{}, refusals: map[string]int64{}}
}

// refused counts a request that was refused because a key has no requests, tokens or quota left.
func (m *Meter) refused(what string) {
	m.mu.Lock()
	m.refusals[what]++
	m.mu.Unlock()
}

func (m *Meter) add(a answered, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.answers[a]
	if x == nil {
		x = new(spent)
		m.answers[a] = x
	}
	x.n++
	x.seconds += took.Seconds()
	for i, bound := range buckets {
		if took.Seconds() <= bound {
			x.within[i]++
		}
	}
}

// counted is the outermost of gin's handlers.
func (s *server) counted(c *gin.Context) {
	began := time.Now()
	defer func() { // a half answer that is broken off by a panic too
		route := c.FullPath()
		if route == "" {
			route = "none"
		}
		s.Meter.add(answered{methodName(c.Request.Method), route, c.Writer.Status()}, time.Since(began))
	}()
	c.Next()
}

// Handler answers /metrics in the text format of Prometheus (version 0.0.4), and /debug/pprof/.
func (m *Meter) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", m.metrics)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func (m *Meter) metrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	out := exposition{bufio.NewWriter(w)}
	m.engine(out)
	m.http(out)
	m.rooms(r.Context(), out)
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	out.one("go_goroutines", "gauge", "Goroutines.", float64(runtime.NumGoroutine()))
	out.one("go_memstats_heap_inuse_bytes", "gauge", "Bytes of the heap in use.", float64(mem.HeapInuse))
	out.one("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.", float64(m.began.UnixMilli())/1000)
	out.w.Flush() // who has gone learns nothing
}

// engine writes what the engine that serves does; without one there is only the line that says so.
func (m *Meter) engine(out exposition) {
	v, err := m.serving.Acquire()
	if err != nil {
		out.one("rankloop_serving", "gauge", "Whether a policy serves.", 0)
		return
	}
	defer v.Release()
	s := v.Engine.Stats()
	model := []string{"model", v.Name, "version", v.VersionID}
	out.one("rankloop_serving", "gauge", "Whether a policy serves.", 1, model...)
	for _, x := range []struct {
		name, kind, help string
		value            float64
	}{
		{"running", "gauge", "Choices that are being written.", float64(s.Active)},
		{"waiting", "gauge", "Choices that wait for a place.", float64(s.Waiting)},
		{"places", "gauge", "Most choices of one step.", float64(s.Places)},
		{"queue_places", "gauge", "Most choices that may wait.", float64(s.Queue)},
		{"requests_total", "counter", "Requests taken on.", float64(s.Requests)},
		{"refused_total", "counter", "Requests sent away because the queue was full or the wait too long.", float64(s.Refused)},
		{"cancelled_total", "counter", "Requests whose callers left.", float64(s.Cancelled)},
		{"prompt_tokens_total", "counter", "Tokens of prompts.", float64(s.PromptTokens)},
		{"cached_tokens_total", "counter", "Tokens of prompts that were not read again.", float64(s.CachedTokens)},
		{"completion_tokens_total", "counter", "Tokens written.", float64(s.Completions)},
		{"steps_total", "counter", "Steps of the model.", float64(s.Steps)},
		{"busy_seconds_total", "counter", "Time spent in steps.", s.Busy.Seconds()},
	} {
		out.one("rankloop_engine_"+x.name, x.kind, x.help, x.value, model...)
	}
	out.head("rankloop_engine_kv_bytes", "gauge", "Memory for keys and values: all there is, held, and of that remembered for prompts that begin alike.")
	for _, x := range []struct {
		state string
		pages int
	}{{"total", s.PagesTotal}, {"used", s.PagesUsed}, {"kept", s.PagesKept}} {
		out.value("rankloop_engine_kv_bytes", float64(int64(x.pages)*s.PageBytes), append([]string{"state", x.state}, model...)...)
	}
}

func (m *Meter) http(out exposition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out.head("rankloop_limit_refusals_total", "counter", "Requests refused because a key had no requests, tokens or quota left.")
	for _, what := range []string{"requests", "tokens", "quota"} {
		out.value("rankloop_limit_refusals_total", float64(m.refusals[what]), "limit", what)
	}
	var list []answered
	for a := range m.answers {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b answered) int {
		return cmp.Or(cmp.Compare(a.route, b.route), cmp.Compare(a.method, b.method), a.code-b.code)
	})
	m.labels(out, list)
	out.head("rankloop_http_request_duration_seconds", "histogram", "Answers by route, and the time they took.")
	for _, a := range list {
		x := m.answers[a]
		labels := []string{"method", a.method, "route", a.route, "code", strconv.Itoa(a.code)}
		for i, bound := range buckets {
			out.value("rankloop_http_request_duration_seconds_bucket", float64(x.within[i]), append(slices.Clip(labels), "le", strconv.FormatFloat(bound, 'g', -1, 64))...)
		}
		out.value("rankloop_http_request_duration_seconds_bucket", float64(x.n), append(slices.Clip(labels), "le", "+Inf")...)
		out.value("rankloop_http_request_duration_seconds_sum", x.seconds, labels...)
		out.value("rankloop_http_request_duration_seconds_count", float64(x.n), labels...)
	}
}

// labels counts the answers of labelers that were taken; the caller holds the lock.
func (m *Meter) labels(out exposition, list []answered) {
	out.head("rankloop_labels_total", "counter", "Answers of labelers, by what became of the task.")
	for _, x := range [][2]string{{"submitted", "/label/api/assignments/:id/submit"}, {"skipped", "/label/api/assignments/:id/skip"}} {
		var n int64
		for _, a := range list {
			if a.route == x[1] && a.code < 300 {
				n += m.answers[a].n
			}
		}
		out.value("rankloop_labels_total", float64(n), "what", x[0])
	}
}

// exposition writes the text format of Prometheus.
type exposition struct{ w *bufio.Writer }

func (e exposition) head(name, kind, help string) {
	fmt.Fprintf(e.w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// value writes one sample; labels are names and values in turn.
func (e exposition) value(name string, v float64, labels ...string) {
	e.w.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		fmt.Fprintf(e.w, `%s%s="%s"`, map[bool]string{true: "{", false: ","}[i == 0], labels[i], labelEscapes.Replace(labels[i+1]))
	}
	if len(labels) > 1 {
		e.w.WriteByte('}')
	}
	e.w.WriteByte(' ')
	e.w.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
	e.w.WriteByte('\n')
}

func (e exposition) one(name, kind, help string, v float64, labels ...string) {
	e.head(name, kind, help)
	e.value(name, v, labels...)
}
