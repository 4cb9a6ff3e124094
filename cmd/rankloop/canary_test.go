package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// fondJudge likes every answer of the new policy: an evaluation asks it of the supervised policy and of the new one in turn. A round
// of this size teaches nothing, and this test is not of that.
type fondJudge struct{ calls atomic.Int64 }

func (*fondJudge) Name() string { return "gold" }

func (j *fondJudge) Judge(_ context.Context, answers []loop.Answer) ([]float64, error) {
	out := make([]float64, len(answers))
	if answers[0].Sequence.IDs == nil { // what people ranked
		return out, nil
	}
	if j.calls.Add(1)%2 == 0 {
		for i := range out {
			out[i] = 1
		}
	}
	return out, nil
}

// canaryRound is a round that trains for a moment and ends in a canary of half of the requests.
func canaryRound() loop.Config {
	c := loop.DefaultConfig()
	c.Prompts, c.EvalPrompts, c.Overlap, c.OverlapShare, c.MaxKL, c.Seed = 24, 10, 1, 0, 1000, 7
	c.Reward.Epochs, c.Reward.Batch = 1, 8
	c.PPO.Iterations, c.PPO.Rollouts, c.PPO.Minibatch, c.PPO.Chunk, c.PPO.LR = 1, 8, 8, 8, 1e-7
	c.Promotion = loop.PromoteByCanary
	c.Canary.Shares, c.Canary.Answers, c.Canary.Least, c.Canary.Seconds, c.Canary.Slower = []float64{0.5}, 12, 12, 0, 100
	return c
}

// customerOf makes a customer with a key.
func customerOf(t *testing.T, a *app) string {
	t.Helper()
	u, _, err := a.accounts.CreateUser(t.Context(), account.NewUser{Email: "shop@example.com", Role: account.RoleCustomer, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := a.accounts.CreateKey(t.Context(), account.NewKey{CustomerID: u.ID, Name: "shop", Scopes: account.Scopes, RPM: 1_000_000, TPM: 100_000_000, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// chat sends a request of one of the shop's users.
func chat(t *testing.T, addr, key string, fields map[string]any) *http.Response {
	t.Helper()
	all := map[string]any{"model": "default", "max_tokens": 16, "messages": userSays("Tell a story about a fox.")}
	for k, v := range fields {
		all[k] = v
	}
	body, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("%s: %s", res.Status, b)
	}
	return res
}

// answeredBy is the version that answers somebody now.
func answeredBy(t *testing.T, addr, key, user string) string {
	t.Helper()
	res := chat(t, addr, key, map[string]any{"user": user})
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res.Header.Get("Rankloop-Model-Version")
}

// TestScheduleToCanary: a round on the starter model goes from its schedule to a canary, and that to all requests, without a hand: only
// labelers rank, and customers ask. Then a rollback reaches two servers within five seconds, and a stream that is open ends on the weights it
// began with.
func TestScheduleToCanary(t *testing.T) {
	a := newTestApp(t, appConfig{Judge: new(fondJudge), Work: true, Slice: 2 * time.Second})
	ctx := t.Context()
	var addrs []string
	var servers []*server
	for range 2 {
		s, err := a.listen(ctx, "127.0.0.1:0", serverOptions{KeepFormer: 1, Patience: 1000, KVCache: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		addrs, servers = append(addrs, s.Addr()), append(servers, s)
	}
	key := customerOf(t, a)
	world := simulate.Starter()
	if err := pgx.BeginFunc(ctx, a.db.Jobs, func(tx pgx.Tx) error {
		for i, text := range world.Prompts(1, 40) {
			split := []string{labeling.Train, labeling.Train, labeling.Valid, labeling.Test}[i%4]
			if _, _, err := a.labeling.AddPrompt(ctx, tx, labeling.NewPrompt{ProjectID: a.project.ID, Messages: userSays(text), Origin: labeling.OriginImport, Split: split}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.loop.AddSchedule(ctx, loop.Schedule{ProjectID: a.project.ID, Cron: "0 3 * * *", Config: canaryRound(), CreatedBy: "user:ada"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.db.Jobs.Exec(ctx, `UPDATE schedules SET next_at = now() - interval '1 minute'`); err != nil {
		t.Fatal(err)
	}
	stop, err := a.startWorkers(deadAfter)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	round := a.rankUntilDone(t, world)
	canaries, err := a.registry.CanariesOf(ctx, round.PolicyVersionID, 1)
	if err != nil || len(canaries) != 1 {
		t.Fatalf("no canary began: %+v %v", round.Report, err)
	}
	before := map[string]string{} // who is answered by what while the canary is under way
	for i := 0; ; i++ {
		user := fmt.Sprintf("user %d", i%20)
		by := answeredBy(t, addrs[i%2], key, user)
		v, err := a.loop.Canary(ctx, canaries[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		if !v.Open() {
			if v.State != registry.CanaryPromoted {
				t.Fatalf("%+v", v)
			}
			break
		}
		if was, ok := before[user]; ok && was == round.PolicyVersionID && by != was {
			t.Fatalf("%s was answered by the canary, and then by %s", user, by)
		}
		before[user] = by
	}
	if round, err = a.loop.View(ctx, round.ID); err != nil || round.Promoted == nil || !*round.Promoted || !round.Report.Promoted {
		t.Errorf("the round does not know: %+v %v", round, err)
	}
	var acts []string
	if err := a.db.Jobs.QueryRow(ctx, `SELECT array_agg(act || ' by ' || actor ORDER BY id) FROM audit WHERE subject = $1 AND act <> 'canary.advance'`, round.PolicyVersionID).Scan(&acts); err != nil {
		t.Fatal(err)
	}
	if want := []string{"canary.start by round 1", "canary.promote by canary", "model.promote by canary"}; !slices.Equal(acts, want) {
		t.Errorf("done by %v, want %v", acts, want)
	}
	for _, addr := range addrs {
		for answeredBy(t, addr, key, "user 1") != round.PolicyVersionID { // until the server has heard
		}
	}
	a.rollBackUnderStream(t, servers, key, round)
}

// rankUntilDone lets a labeler rank what the round asks for, until it ends.
func (a *app) rankUntilDone(t *testing.T, world simulate.World) loop.Round {
	t.Helper()
	ctx := t.Context()
	for {
		rounds, err := a.loop.List(ctx, a.project.ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(rounds) > 0 && rounds[0].Stage.Ended() {
			if rounds[0].Stage != loop.StageDone || !strings.HasPrefix(rounds[0].Actor, "schedule ") {
				t.Fatalf("%s: %s", rounds[0].Stage, rounds[0].Error)
			}
			return rounds[0]
		}
		task, err := a.labeling.Claim(ctx, a.project.ID, "mina")
		if errors.Is(err, labeling.ErrEmpty) {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		ranks := make([]int, len(task.Answers))
		for i := range ranks {
			ranks[i] = i + 1
		}
		if _, err := a.labeling.Submit(ctx, labeling.SubmitInput{AssignmentID: task.ID, LabelerID: "mina", Ranks: ranks, IdempotencyKey: task.ID}, a.loop.RankingSubmitted); err != nil {
			t.Fatal(err)
		}
	}
}

// rollBackUnderStream rolls back while the first server streams an answer of what serves.
func (a *app) rollBackUnderStream(t *testing.T, servers []*server, key string, round loop.Round) {
	t.Helper()
	ctx := t.Context()
	cp, err := starter.SFT()
	if err != nil {
		t.Fatal(err)
	}
	endless := map[string]int{strconv.Itoa(cp.Model.Config().EOS): -100}
	for range 10 { // until the stream is still open when both servers have followed
		var streams []*http.Response // enough that the last ones have to wait for the first
		for range 8 {
			streams = append(streams, chat(t, servers[0].Addr(), key, map[string]any{"stream": true, "n": 8, "max_tokens": 90, "logit_bias": endless}))
		}
		began := time.Now()
		if _, err := a.loop.Rollback(ctx, "test", "it is worse"); err != nil {
			t.Fatal(err)
		}
		for _, s := range servers {
			for answeredBy(t, s.Addr(), key, "user 2") != round.InitVersionID {
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the servers followed after %s", took)
		}
		former, err := servers[0].slot.AcquireVersion(round.PolicyVersionID)
		if err != nil {
			t.Fatal(err)
		}
		open := former.Engine.Stats().Active > 0
		former.Release()
		for _, res := range streams {
			said, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || !strings.HasSuffix(string(said), "data: [DONE]\n\n") || res.Header.Get("Rankloop-Model-Version") != round.PolicyVersionID {
				t.Fatalf("a stream was cut: %v %.200s", err, said[max(0, len(said)-200):])
			}
		}
		if open {
			return
		}
		if err := a.loop.Promote(ctx, round.PolicyVersionID, "test", "once more"); err != nil {
			t.Fatal(err)
		}
		for answeredBy(t, servers[0].Addr(), key, "user 2") != round.PolicyVersionID {
		}
	}
	t.Error("no stream was open at the moment of a rollback")
}
