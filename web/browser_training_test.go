package web

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// TestSupervisedFigures: the loss of supervised training is the chart shown first, with its last value and its numbers; what else a step
// tells stands under its own name, and what says where a step stands is no curve.
func TestSupervisedFigures(t *testing.T) {
	all := curvesOf([]run.Point{{Step: 1, Metrics: run.Metrics{"loss": 3.5, "lr": .1, "grad_norm": math.NaN(), "epoch": 1}},
		{Step: 2, Metrics: run.Metrics{"loss": 2.25, "lr": .05, "grad_norm": 1, "epoch": 1}}, {Step: 4, Metrics: run.Metrics{"loss": 2}}})
	first, others := figuresOf(func(s sentence) string { return "say " + string(s) }, loop.KindSFT, all, nil)
	if len(first) != 1 {
		t.Fatalf("%d charts are shown first: %+v", len(first), first)
	}
	f := first[0]
	if f.ID != "curve-round-sft-loss" || f.Title != "say Loss on demonstrations, nats per token" || f.Last != "2" || !f.Any() || len(f.Labels) != 1 || f.Labels[0] != "" {
		t.Errorf("%+v", f)
	}
	if l := f.Lines[0]; !slices.Equal(l.X, []int{1, 2, 4}) || !slices.Equal(l.Y, []float64{3.5, 2.25, 2}) {
		t.Errorf("the line is %+v", l)
	}
	if len(f.Rows) != 3 || f.Rows[1].Step != 2 || f.Rows[1].Values[0] != "2.25" {
		t.Errorf("the table is %+v", f.Rows)
	}
	var names []string
	for _, o := range others {
		names = append(names, o.Metrics[0])
	}
	if !slices.Equal(names, []string{"grad_norm", "lr"}) || !slices.Equal(others[0].Lines[0].X, []int{2}) {
		t.Errorf("the others are %q, %+v", names, others)
	}
}

// TestSupervisedCurves: while the policy learns from demonstrations the curve of its loss grows on the page by itself, and once it rests
// the page has the last step, and as a table what was stored.
func TestSupervisedCurves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	w.trains()
	ctx := t.Context()
	var shown []labeling.Demonstration
	for i := range 400 {
		shown = append(shown, labeling.Demonstration{Messages: says(fmt.Sprintf("say word %d", i)), Response: "one two three", Origin: "import"})
	}
	_, err := w.labeling.AddDemonstrations(ctx, w.project.ID, shown)
	w.must(err)
	c := loop.DefaultConfig()
	c.Parts, c.SFT.Epochs, c.SFT.BatchTokens, c.Seed = []loop.Stage{loop.StageSFT}, 100_000, 4096, 7
	r, err := w.loop.Start(ctx, w.project.ID, "system", c)
	w.must(err)

	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/rounds/" + r.ID)
	const loss = `document.getElementById("curve-round-sft-loss")`
	b.until(loss + ` && Number(` + loss + `.dataset.points) >= 2 && ` + loss + `.querySelector("canvas") && !` + loss + `.hidden`)
	n := eval[int](b, `Number(`+loss+`.dataset.points)`)
	b.until(fmt.Sprintf(`Number(%s.dataset.points) > %d`, loss, n))
	b.do(chromedp.Click(chromedp.CSS(`form[action$="/pause"] button`)))
	b.until(`document.body.innerText.includes("The round is paused.")`)
	r, err = w.loop.View(ctx, r.ID)
	w.must(err)
	v := w.stopped(r.SFTRunID)
	points, err := w.runs.Metrics(ctx, v.ID, -1)
	w.must(err)
	if len(points) != v.Step || len(points) <= n {
		t.Fatalf("%d points of %d steps", len(points), v.Step)
	}
	eval[bool](b, loss+`.querySelector(".numbers").open = true`)
	last := points[len(points)-1]
	b.until(fmt.Sprintf(`%s.querySelector("tbody tr:last-child td").textContent === "%d"`, loss, last.Step))
	stored := map[string]float64{}
	for _, p := range points {
		stored[strconv.Itoa(p.Step)] = p.Metrics["loss"]
	}
	rows := eval[[][]string](b, `[...`+loss+`.querySelectorAll("tbody tr")].map((r) => [...r.cells].map((c) => c.textContent))`)
	if len(rows) < min(20, len(points)) {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows {
		if v, err := strconv.ParseFloat(row[1], 64); err != nil || math.Abs(v-stored[row[0]]) > .006*math.Abs(v) {
			t.Errorf("step %s is %s on the page, %g in the table of runs", row[0], row[1], stored[row[0]])
		}
	}
	if first := points[0].Metrics["loss"]; !(last.Metrics["loss"] < first) {
		t.Errorf("the loss went from %g to %g", first, last.Metrics["loss"])
	}
	b.axe()
	b.shot("sft")
	w.must(w.loop.Cancel(ctx, r.ID, "system"))
}

// TestWinOfTheOtherSide: a comparison's win rates are B's over A; of A's page they are the other way round, ends of the intervals too.
func TestWinOfTheOtherSide(t *testing.T) {
	judged := loop.Estimate{Value: .55, Low: .5, High: .625, N: 40}
	c := loop.Comparison{A: "a", B: "b", Report: &loop.CompareReport{LengthControlled: loop.Estimate{Value: .75, Low: .5, High: .875, N: 40}, RewardJudged: &judged}}
	ofB, ofA := comparedWith{Comparison: c, Other: "a"}, comparedWith{Comparison: c, Other: "b"}
	if got := ofB.LengthControlled(); got != c.Report.LengthControlled {
		t.Errorf("B over A at the same length: %+v", got)
	}
	if got, want := ofA.LengthControlled(), (loop.Estimate{Value: .25, Low: .125, High: .5, N: 40}); got != want {
		t.Errorf("A over B at the same length: %+v", got)
	}
	if got := ofB.RewardJudged(); got == nil || *got != judged {
		t.Errorf("B over A by the reward model: %+v", got)
	}
	if got := ofA.RewardJudged(); got == nil || math.Abs(got.Value-.45) > 1e-12 || got.Low != .375 || got.High != .5 {
		t.Errorf("A over B by the reward model: %+v", got)
	}
	c.Report.RewardJudged = nil
	if got := (comparedWith{Comparison: c, Other: "a"}).RewardJudged(); got != nil {
		t.Errorf("by a reward model that judged nothing: %+v", got)
	}
}

// TestWinRatesBesideSamples: the sample browser shows what people said of the round's policy: each closed comparison with a judgement,
// the policy's side of it, and none of the others.
func TestWinRatesBesideSamples(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	mina := w.user("mina", account.RoleLabeler)
	ctx := t.Context()
	r := w.finishedRound()
	policy, err := w.registry.Get(ctx, r.PolicyVersionID)
	w.must(err)
	third := w.register(registry.Version{Kind: registry.Policy, Name: "third-one", Digest: "sha256:" + repeat("e")})
	report := func(c loop.Comparison, v loop.CompareReport) {
		t.Helper()
		raw, err := json.Marshal(v)
		w.must(err)
		_, err = w.pool.Exec(ctx, `UPDATE model_comparisons SET report = $2 WHERE id = $1`, c.ID, raw)
		w.must(err)
	}
	told := loop.CompareReport{Judged: 80, Judgements: 80, Win: loop.Estimate{Value: .7, Low: .59, High: .79, N: 80}, LengthControlled: loop.Estimate{Value: .64, Low: .52, High: .75, N: 80},
		RewardJudged: &loop.Estimate{Value: .81, Low: .7, High: .9, N: 80}}
	const prompt = "Tell a story about a fox and a drum with a happy ending."

	asB := w.comparedTo(policy, mina, prompt, demoAnswers...)
	w.must(w.loop.CloseComparison(ctx, asB.ID, "system"))
	report(asB, told)
	asA := w.comparedTo(third, mina, prompt, demoAnswers...)
	_, err = w.pool.Exec(ctx, `UPDATE model_comparisons SET a_version_id = $2 WHERE id = $1`, asA.ID, policy.ID)
	w.must(err)
	w.must(w.loop.CloseComparison(ctx, asA.ID, "system"))
	bare := told
	bare.RewardJudged, bare.Judged = nil, 41
	report(asA, bare)
	nobody := w.comparedTo(policy, mina, prompt, demoAnswers...)
	w.must(w.loop.CloseComparison(ctx, nobody.ID, "system"))
	report(nobody, loop.CompareReport{})
	open := w.comparedTo(policy, mina, prompt, demoAnswers...)

	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/rounds/" + r.ID + "/samples")
	const table = `document.querySelector('[aria-label="Win rates of the round\'s policy"] table')`
	b.until(table)
	rows := eval[[]string](b, `[...`+table+`.querySelectorAll("tbody tr")].map((r) => [...r.cells].map((c) => c.textContent.trim()).join(" | "))`)
	slices.Sort(rows)
	want := []string{
		fmt.Sprintf("%d | %s | 70.0%% [59.0, 79.0] | 64.0%% [52.0, 75.0] | 81.0%% [70.0, 90.0] | 80", asB.Number, w.version.Name),
		fmt.Sprintf("%d | third-one | 30.0%% [21.0, 41.0] | 36.0%% [25.0, 48.0] | – | 41", asA.Number),
	}
	slices.Sort(want)
	if !slices.Equal(rows, want) {
		t.Errorf("the table has\n%s\nwant\n%s\n(without %d, %d)", strings.Join(rows, "\n"), strings.Join(want, "\n"), nobody.Number, open.Number)
	}
	b.axe()
	b.wholeShot("samples")
	b.size(360, 740)
	b.fitsWidth()
	b.size(1280, 900)
	b.do(chromedp.Click(chromedp.CSS(`a[href="/admin/compare/` + asB.ID + `"]`)))
	b.until(`location.pathname === "/admin/compare/` + asB.ID + `" && document.getElementById("main").innerText.includes("` + w.version.Name + `")`)
}
