package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// demo drives a running server with simulated customers and labelers, from outside, over HTTP.
type demo struct {
	*app
	world     simulate.World
	seed      uint64
	url       string
	show      *progress
	labelers  []simulate.Labeler
	customers []customer
	printed   []string // accounts made by this start, with their passwords
}

// customer is a simulated API customer who lets its prompts be used for training.
type customer struct {
	name, key string
	prompts   []string // distinct, not yet sent
}

// people makes the accounts: an admin and a labeler for the person at the screen, twenty labelers and eight customers
// that are simulated. Passwords are generated; the simulated ones' anew at each start, so that none is kept.
func (d *demo) people(ctx context.Context) error {
	for _, p := range []struct {
		email string
		role  account.Role
	}{{"admin@example.com", account.RoleOwner}, {"labeler@example.com", account.RoleLabeler}} {
		_, password, err := d.accounts.EnsureUser(ctx, account.NewUser{Email: p.email, Role: p.role, Actor: "demo"})
		if err != nil {
			return err
		}
		if password != "" {
			d.printed = append(d.printed, fmt.Sprintf("  %-20s  %s", p.email, password))
		}
	}
	for i := range demoLabelers {
		u, password, err := d.accounts.EnsureUser(ctx, account.NewUser{Email: fmt.Sprintf("labeler%02d@demo.example.com", i+1),
			Name: fmt.Sprintf("Simulated labeler %d", i+1), Role: account.RoleLabeler, Actor: "demo"})
		if err == nil && password == "" {
			password, err = d.accounts.SetPassword(ctx, u.ID, "", "demo")
		}
		if err != nil {
			return err
		}
		l := d.world.(simulate.Casting).Cast(d.seed, i)
		l.Name, l.Email, l.Password = u.Name, u.Email, password
		d.labelers = append(d.labelers, l)
	}
	pool := d.world.Prompts(d.seed, 190*demoCustomers)
	for i := range demoCustomers {
		u, _, err := d.accounts.EnsureUser(ctx, account.NewUser{Email: fmt.Sprintf("customer%d@demo.example.com", i+1),
			Name: fmt.Sprintf("Demo customer %d", i+1), Role: account.RoleCustomer, Actor: "demo"})
		if err != nil {
			return err
		}
		_, key, err := d.accounts.CreateKey(ctx, account.NewKey{CustomerID: u.ID, Name: "demo", TrainingOptIn: true, RPM: 60_000, TPM: 100_000_000,
			Lifetime: 24 * time.Hour, Actor: "demo"})
		if err != nil {
			return err
		}
		d.customers = append(d.customers, customer{name: u.Name, key: key, prompts: pool[i*190 : (i+1)*190]})
	}
	return nil
}

// introduce prints the passwords that were made just now: this once, and nowhere else.
func (d *demo) introduce() {
	if len(d.printed) == 0 {
		d.show.say("Sign in with the accounts of the first start (admin@example.com, labeler@example.com).")
		return
	}
	d.show.say("Sign in with these accounts; their passwords are shown this once:")
	for _, line := range d.printed {
		d.show.say("%s", line)
	}
}

// prepare imports what a new installation of the demo has before its first round: held-out prompts and demonstrations.
func (d *demo) prepare(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, d.db.Jobs, func(tx pgx.Tx) error {
		for _, text := range d.world.Prompts(simulate.HeldOut(d.seed), demoHeldOut) {
			if _, _, err := d.labeling.AddPrompt(ctx, tx, labeling.NewPrompt{ProjectID: d.project.ID, Messages: userSays(text),
				Origin: labeling.OriginImport, Split: labeling.Test}); err != nil {
				return fmt.Errorf("held-out prompt: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var list []labeling.Demonstration
	for _, x := range d.world.Demonstrations(d.seed, demoReferences) {
		list = append(list, labeling.Demonstration{Messages: userSays(x.Prompt), Response: x.Response, Origin: labeling.OriginImport})
	}
	_, err = d.labeling.AddDemonstrations(ctx, d.project.ID, list)
	return err
}

func userSays(text string) []labeling.Message {
	return []labeling.Message{{Role: "user", Content: text}}
}

// round lets the customers ask, starts a round, ranks until there is nothing to rank, and returns the round when it has ended.
func (d *demo) round(ctx context.Context, config loop.Config) (loop.Round, error) {
	r, err := d.loop.Open(ctx, d.db.Jobs, d.project.ID)
	switch {
	case err == nil:
		d.show.say("Going on with round %d", r.Number)
	case !errors.Is(err, loop.ErrNotFound):
		return r, err
	default:
		if err := d.ask(ctx); err != nil {
			return r, err
		}
		if err := d.forPeople(ctx, config); err != nil {
			return r, err
		}
		if r, err = d.loop.Start(ctx, d.project.ID, "demo", config); err != nil {
			return r, err
		}
	}
	for {
		if r, err = d.loop.View(ctx, r.ID); err != nil {
			return r, err
		}
		if r.Stage.Ended() {
			return r, nil
		}
		d.show.show(fmt.Sprintf("round %d: %s", r.Number, r.Stage), r.Progress.Done, r.Progress.Total, r.Progress.Unit)
		if r.Stage == loop.StageRank {
			if err := d.rank(ctx, r); err != nil {
				return r, err
			}
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// peopleBatch names the tasks that stay open for the person at the screen.
const peopleBatch = "people"

// forPeople adds a dozen tasks that ask for more labelers than are simulated, so that whoever signs in finds some to rank
// however fast the simulated ones are.
func (d *demo) forPeople(ctx context.Context, config loop.Config) error {
	counts, err := d.labeling.BatchCounts(ctx, d.project.ID, peopleBatch)
	if err != nil || counts.Tasks > 0 {
		return err
	}
	return d.loop.AddTasks(ctx, d.project.ID, peopleBatch, 12, config.K, demoLabelers+2, config.MaxTokens, d.seed)
}

// rank lets all simulated labelers work until no task is left for them.
func (d *demo) rank(ctx context.Context, r loop.Round) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, len(d.labelers))
	for _, l := range d.labelers {
		go func() {
			c := simulate.Client{BaseURL: d.url, Labeler: l, World: d.world}
			_, err := c.Run(ctx, 0)
			done <- err
		}()
	}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	var first error
	for left := len(d.labelers); left > 0; {
		select {
		case err := <-done:
			left--
			if err != nil && first == nil {
				first = err
				cancel()
			}
		case <-tick.C:
			if v, err := d.loop.View(ctx, r.ID); err == nil && v.Stage == loop.StageRank {
				d.show.show(fmt.Sprintf("round %d: %s", v.Number, v.Stage), v.Progress.Done, v.Progress.Total, v.Progress.Unit)
			}
		}
	}
	return first
}

// ask sends the customers' next prompts through the API, as they would.
func (d *demo) ask(ctx context.Context) error {
	n := demoMore
	if len(d.customers[0].prompts) == 190 {
		n = demoFirst
	}
	var mu sync.Mutex
	sent, total := 0, 0
	for _, c := range d.customers {
		total += min(n, len(c.prompts))
	}
	errs := make(chan error, len(d.customers))
	for i := range d.customers {
		go func() {
			c := &d.customers[i]
			batch := c.prompts[:min(n, len(c.prompts))]
			c.prompts = c.prompts[len(batch):]
			for _, text := range batch {
				if err := complete(ctx, d.url, c.key, text); err != nil {
					errs <- fmt.Errorf("%s: %w", c.name, err)
					return
				}
				mu.Lock()
				sent++
				mu.Unlock()
			}
			errs <- nil
		}()
	}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	var first error
	for left := len(d.customers); left > 0; {
		select {
		case err := <-errs:
			left--
			if first == nil {
				first = err
			}
		case <-tick.C:
			mu.Lock()
			now := sent
			mu.Unlock()
			d.show.show("customers ask", now, total, "prompts")
		}
	}
	if first == nil {
		d.show.show("customers ask", total, total, "prompts")
	}
	return first
}

// complete is one request of a customer.
func complete(ctx context.Context, url, key, text string) error {
	body, err := json.Marshal(map[string]any{"model": "default", "max_tokens": 48, "messages": userSays(text)})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	for try := 0; ; try++ {
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		switch {
		case err != nil:
			return err
		case res.StatusCode == http.StatusOK:
			return nil
		case (res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable) && try < 20:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
			req.Body, _ = req.GetBody()
		default:
			return fmt.Errorf("POST /v1/chat/completions: %s: %s", res.Status, answer)
		}
	}
}
