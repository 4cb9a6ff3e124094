package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/health"
)

// asked are the metrics that a PromQL expression reads, each with the labels that it selects by.
func asked(expr string) map[string][]string {
	out := map[string][]string{}
	expr = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`).ReplaceAllString(expr, "")
	expr = regexp.MustCompile(`\[[^\]]*\]`).ReplaceAllString(expr, "")
	name := regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\(|\{([^}]*)\})?`)
	for _, m := range name.FindAllStringSubmatch(expr, -1) {
		if m[2] == "(" || slices.Contains([]string{"and", "or", "unless", "bool", "offset"}, m[1]) {
			continue
		}
		out[m[1]] = append(out[m[1]], "")
		for _, l := range regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`).FindAllStringSubmatch(m[3], -1) {
			out[m[1]] = append(out[m[1]], l[1])
		}
	}
	return out
}

func TestAsked(t *testing.T) {
	got := asked(`histogram_quantile(0.95, sum by (le) (rate(a_bucket{route!~"/v1/.*", code="200"}[$__rate_interval]))) > 1 and b_total < 0.8 * c`)
	if fmt.Sprint(got) != `map[a_bucket:[ route code] b_total:[] c:[]]` {
		t.Error(got)
	}
}

// TestDashboardAndAlerts: every metric and label that the dashboard and the alerts ask for is one that the server exports, and every
// alert is explained in the runbook.
func TestDashboardAndAlerts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.loop.Start(t.Context(), w.project.ID, "system", loop.DefaultConfig())
	w.must(err)
	exec := func(sql string) {
		_, err := w.pool.Exec(t.Context(), sql)
		w.must(err)
	}
	exec(`WITH r AS (INSERT INTO runs (id, kind, state, config, total, step) VALUES (gen_random_uuid(), 'ppo.train', 'running', '{}', 100, 10) RETURNING id)
		INSERT INTO run_metrics (run_id, step, metrics) SELECT id, 10, '{"score": 1.5, "kl": null, "invented": 3}' FROM r`)
	exec(`INSERT INTO river.river_job (kind, queue, args, state, max_attempts) VALUES ('labeling.sweep', 'default', '{}', 'available', 3)`)
	w.must(w.server.Health.Store.Mark(t.Context(), health.MarkBackup, true, ""))
	w.server.Meter.Watch(Watched{Health: func(ctx context.Context) health.Report { return w.server.Health.Look(ctx, nil, false) },
		Runs: w.runs.Live, Rounds: loop.NewStore(w.pool).Stages, Canary: w.loop.CanaryCounts})
	w.must(w.loop.AbortCanary(t.Context(), w.canary("former", "d").ID, "user:ada", "not this one"))
	canary := w.canary("next", "e")
	w.must(w.registry.Observe(t.Context(), []registry.Observation{{CanaryID: canary.ID, Canary: true, Failed: true}, {CanaryID: canary.ID, Canary: true}, {CanaryID: canary.ID}}))
	w.as("mina", account.RoleLabeler).get("/label/projects")
	metrics := httptest.NewServer(w.server.Meter.Handler())
	defer metrics.Close()
	res, err := metrics.Client().Get(metrics.URL + "/metrics")
	w.must(err)
	defer res.Body.Close()
	exported, values := map[string][]string{"up": {"", "job", "instance"}}, map[string]string{}
	for line := range strings.Lines(readAll(t, res.Body)) {
		line = strings.TrimSuffix(line, "\n")
		if m := sample.FindStringSubmatch(line); m != nil {
			exported[m[1]] = append(exported[m[1]], "")
			values[m[1]+m[2]] = m[3]
			for _, l := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(m[2], -1) {
				exported[m[1]] = append(exported[m[1]], l[1])
			}
		} else if !strings.HasPrefix(line, "# ") {
			t.Errorf("Prometheus cannot read %q", line)
		}
	}
	for name, want := range map[string]string{
		`rankloop_train_step{kind="ppo.train"}`: "10", `rankloop_train_steps{kind="ppo.train"}`: "100", `rankloop_train_metric{kind="ppo.train",metric="score"}`: "1.5",
		`rankloop_train_metric{kind="ppo.train",metric="kl"}`: "NaN", `rankloop_train_metric{kind="ppo.train",metric="invented"}`: "",
		`rankloop_rounds{stage="sample"}`: "1", `rankloop_rounds{stage="ppo"}`: "0", `rankloop_canary_share`: "0.01", `rankloop_canary_paused`: "0",
		`rankloop_canary_answers{arm="canary"}`: "2", `rankloop_canary_failures{arm="canary"}`: "1", `rankloop_canary_answers{arm="serving"}`: "1", `rankloop_canary_failures{arm="serving"}`: "0",
		`rankloop_canary_guard{guard="errors"}`: "1", `rankloop_canaries_ended_total{state="aborted"}`: "1", `rankloop_canaries_ended_total{state="rolled_back"}`: "0",
		`rankloop_health{check="postgres.fsync"}`: "2", `rankloop_health{check="backup"}`: "0",
		`rankloop_labels_total{what="submitted"}`: "0", `rankloop_http_request_duration_seconds_bucket{method="GET",route="/label/projects",code="200",le="+Inf"}`: "1",
	} {
		if values[name] != want {
			t.Errorf("%s is %q, want %q", name, values[name], want)
		}
	}

	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	w.must(json.Unmarshal(read(t, "grafana/rankloop.json"), &board))
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	w.must(yaml.UnmarshalWithOptions(read(t, "prometheus/rules.yml"), &rules, yaml.Strict()))
	var scrape struct {
		Rules []string `yaml:"rule_files"`
	}
	w.must(yaml.Unmarshal(read(t, "prometheus/prometheus.yml"), &scrape))
	if !slices.Equal(scrape.Rules, []string{"rules.yml"}) {
		t.Error(scrape)
	}
	checked := 0
	check := func(where, expr string) {
		for name, labels := range asked(expr) {
			checked++
			for _, l := range labels {
				if !slices.Contains(exported[name], l) {
					t.Errorf("%s asks for %s{%s}, which the server does not export", where, name, l)
				}
			}
		}
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
		}
	}
	runbook := string(read(t, "RUNBOOK.md"))
	for _, r := range rules.Groups[0].Rules {
		check(r.Alert, r.Expr)
		if !strings.Contains(runbook, "\n## "+r.Alert+"\n") {
			t.Errorf("the runbook does not say what to do about %s", r.Alert)
		}
		if r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
			t.Errorf("%s says too little", r.Alert)
		}
	}
	if checked < 40 {
		t.Errorf("only %d metrics looked for", checked)
	}
}

// read is a file of the folder deploy.
func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
