package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/reward"
	"github.com/rankloop/rankloop/web"
)

// checkReward is for how long it is believed that no other reward model has been promoted.
const checkReward = time.Second

// rewards keeps the promoted reward model at hand: it is loaded when somebody asks for it first, and anew when another is promoted.
// Requests under way go on with the one they hold.
type rewards struct {
	app *app

	mu     sync.Mutex
	looked time.Time
	served *web.ServedReward
}

// Reward implements web.Rewards.
func (r *rewards) Reward(ctx context.Context) (*web.ServedReward, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.served != nil && time.Since(r.looked) < checkReward {
		return r.served, nil
	}
	v, err := r.app.loop.RewardModel(ctx)
	if errors.Is(err, loop.ErrNotFound) {
		return nil, web.ErrNoReward
	}
	if err != nil {
		return nil, err
	}
	r.looked = time.Now()
	if r.served != nil && r.served.VersionID == v.ID {
		return r.served, nil
	}
	dir, err := r.app.blobs.Open(ctx, v.Digest)
	if err != nil {
		return nil, fmt.Errorf("weights of %s: %w", v.Name, err)
	}
	cp, err := checkpoint.Load(dir)
	if err == nil && cp.Tokenizer == nil {
		err = errors.New("there is no tokenizer in the folder")
	}
	if err != nil {
		return nil, fmt.Errorf("weights of %s: %w", v.Name, err)
	}
	template, err := token.Chat(cmp.Or(cp.Card.Template, r.app.template.Name()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Name, err)
	}
	scorer, err := reward.OpenPacked(cp, model.WeightsFloat32)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Name, err)
	}
	r.served = &web.ServedReward{VersionID: v.ID, Name: v.Name, Scorer: scorer, Tokenizer: cp.Tokenizer, Template: template}
	return r.served, nil
}
