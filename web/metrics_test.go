package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/account"
)

// sample is a line of the text format of Prometheus.
var sample = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? (-?[0-9.e+-]+|\+Inf|NaN)$`)

// TestMetrics: what Prometheus reads is well formed, and is what the engine and the answers say. The server that everybody reaches
// does not have it.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme", func(n *account.NewKey) { n.TPM = 500 })
	b := w.withKey(secret)
	c := b.complete(`{"model":"default","prompt":[1,2,3],"max_tokens":7,"logit_bias":{"50256":-100}}`)
	b.json(post, "/v1/completions", `{"model":"default","prompt":[1,2,3],"max_tokens":200,"n":9}`).want(t, http.StatusTooManyRequests)
	b.get("/v1/models/nope").want(t, http.StatusNotFound)
	b.get("/nowhere")
	metrics := httptest.NewServer(w.server.Meter.Handler())
	defer metrics.Close()
	read := func() map[string]string {
		t.Helper()
		res, err := http.Get(metrics.URL + "/metrics")
		w.must(err)
		defer res.Body.Close()
		if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
			t.Errorf("metrics are %s", kind)
		}
		out, kinds := map[string]string{}, map[string]bool{}
		for _, line := range strings.Split(strings.TrimSuffix(readAll(t, res.Body), "\n"), "\n") {
			if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
				name, _, _ = strings.Cut(name, " ")
				if kinds[name] {
					t.Errorf("%s has two types", name)
				}
				kinds[name] = true
			}
			if strings.HasPrefix(line, "# ") {
				continue
			}
			m := sample.FindStringSubmatch(line)
			if m == nil {
				t.Errorf("Prometheus cannot read %q", line)
				continue
			}
			if name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(m[1], "_sum"), "_count"), "_bucket"); !kinds[m[1]] && !kinds[name] {
				t.Errorf("%s has no type", m[1])
			}
			if out[m[1]+m[2]] != "" {
				t.Errorf("%s%s comes twice", m[1], m[2])
			}
			out[m[1]+m[2]] = m[3]
		}
		return out
	}
	got := read()
	model := fmt.Sprintf(`{model="%s",version="%s"}`, w.version.Name, w.version.ID)
	s := w.engineStats()
	for name, want := range map[string]string{
		"rankloop_serving" + model:                                                                        "1",
		"rankloop_engine_requests_total" + model:                                                          "1",
		"rankloop_engine_prompt_tokens_total" + model:                                                     "3",
		"rankloop_engine_completion_tokens_total" + model:                                                 fmt.Sprint(c.Usage.CompletionTokens),
		"rankloop_engine_running" + model:                                                                 "0",
		"rankloop_engine_waiting" + model:                                                                 "0",
		"rankloop_engine_places" + model:                                                                  "32",
		`rankloop_engine_kv_bytes{state="total",` + model[1:]:                                             fmt.Sprint(float64(int64(s.PagesTotal) * s.PageBytes)),
		`rankloop_limit_refusals_total{limit="tokens"}`:                                                   "1",
		`rankloop_limit_refusals_total{limit="quota"}`:                                                    "0",
		`rankloop_http_request_duration_seconds_count{method="POST",route="/v1/completions",code="200"}`:  "1",
		`rankloop_http_request_duration_seconds_count{method="POST",route="/v1/completions",code="429"}`:  "1",
		`rankloop_http_request_duration_seconds_count{method="GET",route="/v1/models/:model",code="404"}`: "1",
		`rankloop_http_request_duration_seconds_count{method="GET",route="none",code="404"}`:              "1",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s", name, got[name], want)
		}
	}
	if res, err := http.Get(metrics.URL + "/debug/pprof/goroutine?debug=1"); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("pprof: %v %v", res, err)
	} else {
		res.Body.Close()
	}
	w.slot.Set(nil)
	if got := read(); got["rankloop_serving"] != "0" || got["rankloop_engine_running"+model] != "" {
		t.Errorf("without a policy: %v", got)
	}
	ada := w.as("ada", account.RoleOwner)
	for _, p := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/goroutine"} {
		ada.get(p).want(t, http.StatusNotFound)
	}
	// The page of the engine says the same, and where nothing serves what to do.
	if body := ada.get("/admin/engine").want(t, http.StatusOK).body; !strings.Contains(body, "No policy serves") {
		t.Error(body)
	}
}

// TestLabelsAreEscaped: a model's name cannot break the format.
func TestLabelsAreEscaped(t *testing.T) {
	if got := labelEscapes.Replace("a\"b\\c\nd"); got != `a\"b\\c\nd` {
		t.Error(got)
	}
}
