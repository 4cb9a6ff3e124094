package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// trains gives the world's loop workers and weights: rounds of a policy of a few thousand parameters run for real.
func (w *world) trains() {
	w.Helper()
	ctx, dir := w.Context(), w.TempDir()
	blobs := checkpoint.Dir(filepath.Join(dir, "models"))
	w.loop.Blobs = blobs
	log := slog.New(slog.DiscardHandler)
	workers := river.NewWorkers()
	w.loop.AddWorkers(workers)
	run.AddWorkers(workers, w.runs, w.loop.Kinds(), run.Options{Dir: dir, Slice: 200 * time.Millisecond, Heartbeat: 200 * time.Millisecond, Logger: log})
	client, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{Schema: "river", Logger: log, Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}, run.Queue: {MaxWorkers: 1}, loop.QueueRollout: {MaxWorkers: 1}}})
	w.must(err)
	w.loop.SetClient(client)
	w.must(client.Start(context.WithoutCancel(ctx)))
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := client.StopAndCancel(ctx); err != nil {
			w.Error(err)
		}
	})
	tok, err := token.Train(slices.Values([]string{"User: say a word please\nAssistant: one two three", "a b c d e f g"}), 300, []string{"<|endoftext|>"})
	w.must(err)
	m, err := model.New(model.Config{Family: "gpt2", Vocab: tok.Vocab(), Context: 64, Layers: 1, Width: 16, Heads: 2, KVHeads: 2, Hidden: 64,
		NormEps: 1e-5, Tied: true, BOS: -1, EOS: int(tok.EOS())}, 1)
	w.must(err)
	folder := filepath.Join(dir, "sft")
	w.must((&checkpoint.Checkpoint{Model: m, Tokenizer: tok, Card: checkpoint.Card{Kind: "sft"}}).Save(folder, "F32"))
	digest, err := blobs.Put(ctx, folder)
	w.must(err)
	w.must(w.loop.Promote(ctx, w.register(registry.Version{Kind: registry.SFT, Name: "small-sft", Digest: digest}).ID, "system", ""))
	for i := range 40 {
		w.splitPrompt(fmt.Sprintf("say word %d", i), []string{labeling.Train, labeling.Train, labeling.Valid, labeling.Test}[i%4])
	}
}

// inPPO starts a round, ranks what it asks for, the shorter answer first, and waits until its policy is trained.
func (w *world) inPPO(c loop.Config) loop.Round {
	w.Helper()
	ctx := w.Context()
	r, err := w.loop.Start(ctx, w.project.ID, "system", c)
	w.must(err)
	until := func(ok func(loop.Stage) bool) {
		w.Helper()
		for {
			r, err = w.loop.View(ctx, r.ID)
			w.must(err)
			if ok(r.Stage) {
				return
			}
			if r.Stage.Ended() {
				w.Fatalf("the round ended as %s: %s", r.Stage, r.Error)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	until(func(s loop.Stage) bool { return s == loop.StageRank })
	for _, who := range []string{"ann", "bob"} {
		for {
			a, err := w.labeling.Claim(ctx, w.project.ID, who)
			if errors.Is(err, labeling.ErrEmpty) {
				break
			}
			w.must(err)
			ranks := make([]int, len(a.Answers))
			for i := range ranks {
				ranks[i] = 1
				for _, other := range a.Answers {
					if len(other.Text) < len(a.Answers[i].Text) {
						ranks[i]++
					}
				}
			}
			_, err = w.labeling.Submit(ctx, labeling.SubmitInput{AssignmentID: a.ID, LabelerID: who, Ranks: ranks, IdempotencyKey: a.ID}, w.loop.RankingSubmitted)
			w.must(err)
		}
	}
	until(func(s loop.Stage) bool { return s == loop.StagePPO })
	return r
}

// TestAdmin4LiveCurves is journey 4 of admins on a real round: curves grow by themselves, also past a cut connection, and miss nothing; they
// zoom, are smoothed and read as tables; what the policy says on the way can be read; a pause keeps a checkpoint; an alarm stops the run and
// a person who says why lets it go on.
func TestAdmin4LiveCurves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	w.trains()
	ctx := t.Context()
	c := loop.DefaultConfig()
	c.Prompts, c.EvalPrompts, c.MaxTokens, c.Overlap, c.OverlapShare, c.Seed, c.Promotion = 12, 10, 8, 1, 0, 7, loop.PromoteByHand
	c.Reward.Epochs, c.Reward.Batch = 2, 8
	c.PPO.Iterations, c.PPO.Rollouts, c.PPO.Minibatch, c.PPO.Chunk, c.PPO.MaxTokens = 100_000, 96, 96, 96, 8
	c.PPO.LR, c.PPO.ValueLR = 1e-4, 1e-4
	r := w.inPPO(c)

	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/rounds/" + r.ID)
	const kl = `document.getElementById("curve-ppo-train-kl")`
	b.until(`Number(` + kl + `.dataset.points) >= 2 && ` + kl + `.querySelector("canvas")`)
	grown := func() {
		b.Helper()
		b.until(`Number(` + kl + `.dataset.points) > 0`)
		n := eval[int](b, `Number(`+kl+`.dataset.points)`)
		b.until(fmt.Sprintf(`Number(%s.dataset.points) > %d`, kl, n))
	}
	grown()
	b.until(`document.querySelector(".stages .now .took") && document.getElementById("left").textContent`)
	b.allow("ERR_") // the connection that is cut
	w.http.CloseClientConnections()
	grown()
	shown := eval[[]int](b, `[Number(`+kl+`.dataset.points), Number(`+kl+`.dataset.last)]`)
	if n := w.count(`SELECT count(*) FROM run_metrics WHERE run_id::text = $1 AND metrics ? 'kl' AND step <= $2`, r.PPORunID, shown[1]); n != shown[0] {
		t.Errorf("the curve has %d points up to step %d after the cut, of %d", shown[0], shown[1], n)
	}

	// Zoom by keys, then by drag; smoothing; the same numbers as a table.
	eval[bool](b, kl+`.scrollIntoView({block: "center"}); `+kl+`.querySelector(".plot-box").focus(); true`)
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	b.until(kl + `.querySelector("output").textContent.includes("step")`)
	b.keys("+")
	b.until(`!document.getElementById("whole").disabled`)
	b.keys("0")
	b.until(`document.getElementById("whole").disabled`)
	at := eval[[]float64](b, `(() => { const r = `+kl+`.querySelector(".u-over").getBoundingClientRect(); return [r.left + r.width * .2, r.left + r.width * .7, r.top + r.height / 2]; })()`)
	mouse := func(kind input.DispatchMouseEventType, x float64) {
		b.Helper()
		_, err := chromedp.Call(b.ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: x, Y: at[2], Button: input.MouseButtonLeft, ClickCount: 1})
		w.must(err)
	}
	mouse("mousePressed", at[0])
	mouse("mouseMoved", (at[0]+at[1])/2)
	mouse("mouseMoved", at[1])
	mouse("mouseReleased", at[1])
	b.until(`!document.getElementById("whole").disabled`)
	b.do(chromedp.Click(chromedp.CSS("#whole")))
	b.until(`document.getElementById("whole").disabled`)
	eval[bool](b, `(() => { const s = document.getElementById("smooth"); s.value = .9; s.dispatchEvent(new Event("input")); return true; })()`)
	b.until(`document.getElementById("smoothed").textContent === "0.9"`)
	eval[bool](b, kl+`.querySelector(".numbers").open = true`)
	b.until(kl + `.querySelectorAll("tbody tr").length > 2`)
	b.shot("live")

	// A pause keeps a checkpoint.
	b.do(chromedp.Click(chromedp.CSS(`form[action$="/pause"] button`)))
	b.until(`document.body.innerText.includes("The round is paused.")`)
	v := w.stopped(r.PPORunID)
	if v.StateFile == "" || v.Step == 0 {
		t.Errorf("a paused run has no checkpoint: %+v", v)
	}
	_, err := w.pool.Exec(ctx, `UPDATE rounds SET config = jsonb_set(config, '{alarms,kl}', '1e-12') WHERE id = $1`, r.ID)
	w.must(err)
	eval[bool](b, `document.querySelector('form[action$="/resume"] button').click() === undefined`) // at once: the page may be on its way to show the next stage

	// The alarm stops it, with the figure and its curve on the page.
	b.until(`document.querySelector(".alert[role=alert] a[href='#curve-ppo-train-kl']")`)
	v = w.stopped(r.PPORunID)
	b.until(fmt.Sprintf(`Number(%s.dataset.points) === %d`, kl, w.count(`SELECT count(*) FROM run_metrics WHERE run_id::text = $1 AND metrics ? 'kl'`, v.ID)))
	if n := w.count(`SELECT count(*) FROM run_metrics WHERE run_id::text = $1`, v.ID); n != v.Step {
		t.Errorf("%d points of %d steps", n, v.Step)
	}
	b.axe()
	b.shot("alarm")
	b.do(chromedp.SendKeys(chromedp.CSS("#reason"), "the limit was a slip of the pen"), chromedp.SendKeys(chromedp.CSS("#limit"), "40\n"))
	b.until(`document.body.innerText.includes("the limit was a slip of the pen") && document.body.innerText.includes("The round goes on.")`)
	grown()

	// What the policy said, by keys too.
	b.visit("/admin/rounds/" + r.ID + "/samples")
	b.until(`document.querySelectorAll(".columns li").length >= 1 && document.querySelector(".tokens[tabindex]")`)
	eval[bool](b, `document.querySelector(".tokens").focus(); true`)
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	b.until(`document.querySelector(".tokens output").textContent.includes("nats")`)
	b.axe()

	b.visit("/admin/rounds/" + r.ID)
	b.do(chromedp.Click(chromedp.CSS("details.confirm summary")))
	b.do(chromedp.Click(chromedp.CSS("details.confirm button")))
	b.until(`document.body.innerText.includes("The round is cancelled.")`)
	if got := w.as("olga", account.RoleAnalyst).form("/admin/rounds/"+r.ID+"/answer", "reason", "x"); got.code != http.StatusForbidden {
		t.Errorf("an analyst answers an alarm: %d", got.code)
	}
}

// stopped waits until nothing works on a run any more.
func (w *world) stopped(id string) run.Run {
	w.Helper()
	for {
		v, err := w.runs.Get(w.Context(), id)
		w.must(err)
		if v.State == run.Paused && v.HeartbeatAt == nil {
			return v
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestFormerRounds: the curves of a former round are laid over those of a present one, and taken away again; without scripts the page
// shows plots.
func TestFormerRounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	former := w.finishedRound()
	r, add := w.trainingRound()
	add(30)
	b := w.open(1280, 900, true)
	b.signIn("ada@example.com")
	b.visit("/admin/rounds/" + r.ID)
	const score = `document.getElementById("curve-ppo-train-score")`
	b.until(score + `.dataset.points === "30"`)
	b.do(chromedp.Click(chromedp.CSS(`input[name="former"][value="` + former.ID + `"]`)))
	b.until(score + `.querySelector(".key.laid")?.textContent === "Round 1"`)
	b.shot("laid")
	add(1)
	b.until(score + `.dataset.points === "31" && ` + score + `.querySelector("output").textContent === "31"`)
	b.do(chromedp.Click(chromedp.CSS(`input[name="former"][value="` + former.ID + `"]`)))
	b.until(`!` + score + `.querySelector(".key.laid")`)
	_, err := w.pool.Exec(t.Context(), `UPDATE rounds SET stage = 'evaluate' WHERE id = $1`, r.ID)
	w.must(err)
	b.until(`document.getElementById("stage") && document.getElementById("stage").textContent === "Evaluating"`)
}
