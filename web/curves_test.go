package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// TestThin: a thinned curve has both ends, every peak and nothing that was not there.
func TestThin(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 5, 100, 101, 5000} {
		var c curve
		low, high := math.Inf(1), math.Inf(-1)
		at := map[int]float64{}
		for i := range n {
			v := rng.NormFloat64()
			if i == n/3 {
				v = 50
			}
			c.X, c.Y = append(c.X, 3*i), append(c.Y, v)
			low, high, at[3*i] = math.Min(low, v), math.Max(high, v), v
		}
		got := c.thin(100)
		if len(got.X) > 100 || n <= 100 && len(got.X) != n || n > 100 && len(got.X) < 40 {
			t.Fatalf("%d of %d points", len(got.X), n)
		}
		if n == 0 {
			continue
		}
		if got.X[0] != 0 || got.X[len(got.X)-1] != 3*(n-1) || slices.Min(got.Y) != low || slices.Max(got.Y) != high || !slices.IsSorted(got.X) || len(slices.Compact(slices.Clone(got.X))) != len(got.X) {
			t.Errorf("%d points became %v", n, got)
		}
		for i, x := range got.X {
			if at[x] != got.Y[i] {
				t.Errorf("step %d is %g, was %g", x, got.Y[i], at[x])
			}
		}
		if part := c.between(6, 9); n >= 4 && (len(part.X) != 2 || part.X[0] != 6 || part.X[1] != 9) {
			t.Errorf("%v", part)
		}
	}
}

func TestLinePlot(t *testing.T) {
	image := string(linePlot("id", nasty, nasty, []curve{{[]int{1, 2, 3}, []float64{0, 1, 2}}, {}}, []float64{1, 9}))
	lines := whole(t, image, "curve c0")
	if len(lines) != 1 || strings.Count(lines[0]["points"], ",") != 3 || len(whole(t, image, "reference")) != 1 {
		t.Errorf("%v in %s", lines, image)
	}
	for _, c := range []curve{{}, {[]int{7}, []float64{3}}, {[]int{1, 2}, []float64{0, 0}}} {
		if image := string(linePlot("id", "t", "d", []curve{c}, nil)); strings.Contains(image, "NaN") || strings.Contains(image, "Inf") {
			t.Errorf("%v: %s", c, image)
		}
	}
}

func TestCurvesCSV(t *testing.T) {
	var b bytes.Buffer
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	if err := writeCSV(&b, curveKinds, [][]run.Point{nil, nil, {{Step: 1, At: at, Metrics: run.Metrics{"kl": 1.0 / 3}}, {Step: 2, At: at, Metrics: run.Metrics{"score": math.NaN(), "kl": 1}}}, nil}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(b.String(), "\ufeff"))).ReadAll()
	if err != nil || len(rows) != 3 || strings.Join(rows[0], " ") != "run step at kl score" || rows[1][3] != "0.3333333333333333" || rows[2][4] != "" || rows[2][1] != "2" {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestSampleColumn(t *testing.T) {
	x := loop.PolicySample{IDs: []int32{1, 2, 1, 2, 9}, Pieces: []string{" a", " b", " a", " b\u202e", ""}, Logprobs: []float32{0, -1, 0, 0, 0}, KL: []float32{.05, -.2, .7, -3, 2}}
	c := columnOf(x, 3)
	want := []sampleToken{{" a", .05, 1, "k0", false, false}, {" b", -.2, .368, "k-1", false, false}, {" a", .7, 1, "k2", false, false}, {" b⟨U+202E⟩", -3, 1, "k-3", true, false}, {"", 2, 1, "k3", false, true}}
	for i, w := range want {
		got := c.Tokens[i]
		if got.Text != w.Text || got.Shade != w.Shade || got.Again != w.Again || got.End != w.End || math.Abs(got.P-w.P) > .001 {
			t.Errorf("token %d is %+v, want %+v", i, got, w)
		}
	}
	if c.Again != .25 || !c.Many() || c.Longer != 2 || !c.Odd() || math.Abs(c.KLSum+.45) > 1e-6 || c.Held() != "–" {
		t.Errorf("%+v", c)
	}
}

// trainingRound is a round in PPO whose run is a row without a worker; add writes further steps of it.
func (w *world) trainingRound() (r loop.Round, add func(n int)) {
	w.Helper()
	ctx := w.Context()
	r, err := w.loop.Start(ctx, w.project.ID, "system", loop.DefaultConfig())
	w.must(err)
	var id string
	w.must(w.pool.QueryRow(ctx, `INSERT INTO runs (id, kind, state, config, round_id, total) VALUES (gen_random_uuid(), 'ppo.train', 'running', '{}', $1, 100) RETURNING id::text`, r.ID).Scan(&id))
	_, err = w.pool.Exec(ctx, `UPDATE rounds SET stage = 'ppo', ppo_run_id = $2 WHERE id = $1`, r.ID, id)
	w.must(err)
	last := 0
	r, err = w.loop.View(ctx, r.ID)
	w.must(err)
	return r, func(n int) {
		_, err := w.pool.Exec(context.WithoutCancel(ctx), `INSERT INTO run_metrics (run_id, step, metrics)
			SELECT $1, s, jsonb_build_object('kl', sin(s), 'score', s, 'peak', CASE WHEN s = 777 THEN 1000 ELSE 0 END) FROM generate_series($2::int, $3::int) s`, id, last+1, last+n)
		w.must(err)
		last += n
	}
}

// TestCurvesWithoutHoles cuts a reader's connection at random while steps come, at the server's side and at its own, in the midst of an
// event too: what it has heard in the end is what the table holds, in order and once.
func TestCurvesWithoutHoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	r, add := w.trainingRound()
	add(3)
	var start struct {
		Cursor string      `json:"cursor"`
		Runs   []runCurves `json:"runs"`
	}
	ada.get("/admin/api/rounds/"+r.ID+"/curves").want(t, 200).into(t, &start)
	if start.Cursor != "0.0.3.0" || len(start.Runs) != 1 || start.Runs[0].Last != 3 {
		t.Fatalf("%+v", start)
	}
	heard := start.Runs[0].Curves["score"].X
	last := ""
	rng := rand.New(rand.NewPCG(7, 7))
	const cuts = 12
	for cut := range cuts {
		add(1 + rng.IntN(40))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		req, err := http.NewRequestWithContext(ctx, get, w.http.URL+"/admin/api/rounds/"+r.ID+"/events?after="+start.Cursor, nil)
		w.must(err)
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		res, err := ada.client.Do(req)
		w.must(err)
		want := w.count(`SELECT max(step) FROM run_metrics`)
		// All but the last connection break after so many bytes, wherever that is.
		left := 1 << 30
		if cut < cuts-1 {
			left = rng.IntN(4000)
		}
		id, name, data := "", "", ""
		lines := bufio.NewReader(res.Body)
		for left > 0 && (len(heard) == 0 || heard[len(heard)-1] < want) {
			line, err := lines.ReadString('\n')
			if left -= len(line); err != nil || left <= 0 {
				break
			}
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch key {
			case "id":
				id = value
			case "event":
				name = value
			case "data":
				data = value
			case "":
				if name == "points" {
					var p runPoints
					w.must(json.Unmarshal([]byte(data), &p))
					for _, x := range p.Points {
						heard = append(heard, x.Step)
					}
				}
				if id != "" {
					last = id
				}
				id, name, data = "", "", ""
			}
		}
		if cut%2 == 0 {
			w.http.CloseClientConnections()
		}
		cancel()
		res.Body.Close()
	}
	want := w.count(`SELECT max(step) FROM run_metrics`)
	if len(heard) != want || heard[0] != 1 || heard[len(heard)-1] != want || !slices.IsSorted(heard) {
		t.Errorf("heard %d of %d steps: %v", len(heard), want, heard)
	}
}

// TestLongRun: thousands of points are thinned, no peak is lost, and a part of them comes whole; the page holds plots and tables of them
// for those without scripts, and the file all.
func TestLongRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	r, add := w.trainingRound()
	add(6000)
	var got struct {
		Runs []runCurves `json:"runs"`
	}
	ada.get("/admin/api/rounds/"+r.ID+"/curves").want(t, 200).into(t, &got)
	peak := got.Runs[0].Curves["peak"]
	if !got.Runs[0].Thinned || len(peak.X) > sentPoints || !slices.Contains(peak.Y, 1000) || peak.X[len(peak.X)-1] != 6000 {
		t.Errorf("%d points", len(peak.X))
	}
	ada.get("/admin/api/rounds/"+r.ID+"/curves?kind=ppo.train&from=1000&to=1400").want(t, 200).into(t, &got)
	if kl := got.Runs[0].Curves["kl"]; got.Runs[0].Thinned || len(kl.X) != 401 || kl.X[0] != 1000 {
		t.Errorf("%d points from %d", len(kl.X), kl.X[0])
	}
	page := ada.get("/admin/rounds/"+r.ID).want(t, 200).body
	if !strings.Contains(page, `id="curve-ppo-train-kl-svg-title"`) || !strings.Contains(page, "<code>peak</code>") || !strings.Contains(page, `<td class="n">6000</td>`) || len(page) > 200_000 {
		t.Errorf("a page of %d bytes", len(page))
	}
	file := ada.get("/admin/rounds/"+r.ID+"/curves.csv").want(t, 200)
	if n := strings.Count(file.body, "\r\n"); n != 6001 || !strings.Contains(file.head.Get("Content-Disposition"), fmt.Sprintf("round-%d.csv", r.Number)) {
		t.Errorf("%d lines, %v", n, file.head)
	}
	for _, bad := range []string{"from=x", "to=-1", "from=99999999999999"} {
		ada.get("/admin/api/rounds/"+r.ID+"/curves?"+bad).want(t, http.StatusBadRequest)
	}
	ada.get("/admin/rounds/"+r.ID+"/samples").want(t, 200)
	ada.form("/admin/rounds/"+r.ID+"/answer", "reason", "why not").want(t, http.StatusConflict)
	ada.form("/admin/rounds/"+r.ID+"/answer", "reason", " ").want(t, http.StatusBadRequest)
	ada.form("/admin/rounds/"+r.ID+"/answer", "reason", "x", "limit", "many").want(t, http.StatusBadRequest)
}

func (w *world) splitPrompt(text, split string) labeling.Prompt {
	w.Helper()
	var p labeling.Prompt
	w.must(pgx.BeginFunc(w.Context(), w.pool, func(tx pgx.Tx) (err error) {
		p, _, err = w.labeling.AddPrompt(w.Context(), tx, labeling.NewPrompt{ProjectID: w.project.ID, Messages: says(text), Origin: labeling.OriginImport, Split: split})
		return err
	}))
	return p
}

// sampled writes what a policy said to a prompt, every fifth iteration, and an alarm that stopped it; a run is made where the round has none.
func (w *world) sampled(r loop.Round, p labeling.Prompt, answers ...string) {
	w.Helper()
	ctx := w.Context()
	exec := func(sql string, args ...any) {
		w.Helper()
		_, err := w.pool.Exec(ctx, sql, args...)
		w.must(err)
	}
	if r.PPORunID == "" {
		w.must(w.pool.QueryRow(ctx, `INSERT INTO runs (id, kind, config, round_id) VALUES (gen_random_uuid(), 'ppo.train', '{}', $1) RETURNING id::text`, r.ID).Scan(&r.PPORunID))
		exec(`UPDATE rounds SET ppo_run_id = $2 WHERE id = $1`, r.ID, r.PPORunID)
	}
	for i, answer := range answers {
		answer, _ = labeling.Sanitize(answer)
		pieces := strings.SplitAfter(answer, " ")
		ids, kl, logp := make([]int32, len(pieces)), make([]float32, len(pieces)), make([]float32, len(pieces))
		for j, piece := range pieces {
			ids[j] = int32(len(piece)*31 + int([]byte(piece + " ")[0]))
			kl[j] = float32(i) * float32(math.Sin(float64(3*j)))
			logp[j] = -float32(j%5) / 2
		}
		exec(`INSERT INTO policy_samples (run_id, iteration, prompt_id, place, ids, pieces, logprobs, kl, score, held_score, held_by, ended) VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, 'gold', $10)`,
			r.PPORunID, 5*i, p.ID, ids, pieces, logp, kl, float64(i), 1-.2*float64(i), i != 1)
	}
	said, _ := labeling.Sanitize(answers[0])
	exec(`INSERT INTO alarms (id, round_id, kind, message, actor, rule, run_id, metric, value, threshold, step, answered_at, answered_by, reason, new_limit)
		VALUES (gen_random_uuid(), $1, 'alarm', 'kl: kl of step 60 is 31.2, above the limit of 30', 'system', 'kl', $2, 'kl', 31.2, 30, 60, now(), 'command line', $3, 40)`, r.ID, r.PPORunID, strings.ToValidUTF8(said[:min(len(said), 900)], ""))
}
