package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/migrations/pgtest"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/web/account"
)

// newTestApp is an installation on a database of its own, with the starter model serving.
func newTestApp(t *testing.T, c appConfig) *app {
	t.Helper()
	pool := pgtest.New(t)
	c.Dir = t.TempDir()
	a, err := newApp(t.Context(), &database{Pool: pool, Jobs: pool}, c, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err == nil {
		err = a.ensureStarter(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestRewardServed: the promoted reward model answers over the network what the command line says of its folder, and another one as soon
// as it is promoted.
func TestRewardServed(t *testing.T) {
	a := newTestApp(t, appConfig{})
	ctx := t.Context()
	server, err := a.listen(ctx, "127.0.0.1:0", serverOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	customer, _, err := a.accounts.CreateUser(ctx, account.NewUser{Email: "lab@example.com", Role: account.RoleCustomer, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := a.accounts.CreateKey(ctx, account.NewKey{CustomerID: customer.ID, Name: "trainer", Scopes: []string{account.ScopeReward}, RPM: 1_000_000, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	const prompt, answer = "User: Where do owls sleep?\nAssistant:", " In a tree."
	ask := func() (int, []float64, string) {
		t.Helper()
		body, err := json.Marshal(map[string]any{"query": []string{prompt + answer, prompt + " Nowhere."}, "prompts": []string{prompt, prompt}, "labels": []string{"", ""}})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+server.Addr()+"/api/v1/reward", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("reward", key)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var got struct{ Rewards []float64 }
		if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, got.Rewards, res.Header.Get("Rankloop-Model-Version")
	}
	if code, _, _ := ask(); code != http.StatusNotFound {
		t.Errorf("before any reward model is promoted: %d", code)
	}
	for i, name := range []string{"reward-1", "reward-2"} {
		cp, err := starter.SFT()
		if err != nil {
			t.Fatal(err)
		}
		eos := cp.Model.Config().EOS
		cp.Model.AddHead(model.HeadScore, uint64(i+1))
		cp.Card = checkpoint.Card{Kind: "reward", RewardMean: .25, RewardStd: 1.5}
		dir := filepath.Join(t.TempDir(), name)
		if err := cp.Save(dir, "F32"); err != nil {
			t.Fatal(err)
		}
		digest, err := a.blobs.Put(ctx, dir)
		if err != nil {
			t.Fatal(err)
		}
		var v registry.Version
		if err := pgx.BeginFunc(ctx, a.db.Pool, func(tx pgx.Tx) (err error) {
			v, err = a.registry.Register(ctx, tx, registry.Version{Kind: registry.Reward, Name: name, Digest: digest})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := a.loop.Promote(ctx, v.ID, "test", ""); err != nil {
			t.Fatal(err)
		}
		code, got, header := ask()
		for header != v.ID && code == http.StatusOK { // until the change is seen
			code, got, header = ask()
		}
		if code != http.StatusOK || len(got) != 2 {
			t.Fatalf("%d %v", code, got)
		}
		tok := cp.Tokenizer
		ids, err := json.Marshal(map[string]any{"ids": append(append(encodePrompt(tok, prompt), tok.Encode(answer)...), int32(eos))})
		if err != nil {
			t.Fatal(err)
		}
		var out, notes bytes.Buffer
		if code := execute(context.Background(), []string{"reward", "score", "--model", dir}, streams{strings.NewReader(string(ids) + "\n"), &out, &notes}); code != 0 {
			t.Fatalf("%d %s", code, notes.String())
		}
		var want rewardLine
		if err := json.Unmarshal(out.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		if math.Abs(got[0]-want.Reward) > 1e-6 || got[0] == got[1] {
			t.Errorf("%s: %v over the network, %g on the command line", name, got, want.Reward)
		}
	}
}
