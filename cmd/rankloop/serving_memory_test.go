package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web"
)

// copies registers policies with the weights of what serves.
func (a *app) copies(t *testing.T, names ...string) []registry.Version {
	t.Helper()
	sft, err := a.registry.Serving(t.Context(), loop.Channel)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]registry.Version, len(names))
	err = pgx.BeginFunc(t.Context(), a.db.Pool, func(tx pgx.Tx) error {
		for i, name := range names {
			if out[i], err = a.registry.Register(t.Context(), tx, registry.Version{Kind: registry.Policy, Name: name, Digest: sft.Digest, Parents: []string{sft.ID}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCanaryMemory: a canary is loaded where its weights and its keys and values fit beside what serves, by the machine's free memory and by
// the operator's limit; else it is ended with the figures. One that has ended, and a former version that is not kept, are let go.
func TestCanaryMemory(t *testing.T) {
	a, ctx := newTestApp(t, appConfig{}), t.Context()
	const kv = 8 << 20
	slot := &web.Slot{Keep: 1}
	k := newKeeper(a, slot, serverOptions{KVCache: kv})
	machine := int64(1 << 40)
	k.free = func() (int64, bool) { return machine, true }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(k.load(ctx))
	defer slot.Set(nil)
	next := a.copies(t, "policy-1", "policy-2")
	weights, cache, err := k.need(ctx, next[0])
	must(err)
	all, untaken := slot.Memory()
	served, err := slot.Acquire()
	must(err)
	size, page := served.Weights, served.Engine.Stats().PageBytes
	served.Release()
	served = nil
	if size != weights || weights < 1<<20 || all > weights+cache || all < weights+cache-page || untaken > cache || untaken < cache-page || cache < kv {
		t.Fatalf("weights %d of %d, all %d, not taken %d of %d", size, weights, all, untaken, cache)
	}

	start := func(v registry.Version) registry.Canary {
		t.Helper()
		c, err := a.loop.StartCanary(ctx, v.ID, "test", "try it", registry.CanaryConfig{})
		must(err)
		return c
	}
	refused := func(says string) {
		t.Helper()
		c := start(next[0])
		must(k.load(ctx))
		v, err := a.loop.Canary(ctx, c.ID)
		must(err)
		if v.State != registry.CanaryAborted || v.Events[1].Actor != "server" || !strings.Contains(v.EndedWhy, "policy-1 takes up to") || !strings.Contains(v.EndedWhy, says) || len(slot.Versions()) != 1 {
			t.Fatalf("%s by %s: %q, %d loaded", v.State, v.Events[1].Actor, v.EndedWhy, len(slot.Versions()))
		}
	}
	machine = untaken + weights + cache - 1 // what serves may still take its own
	refused(fmt.Sprintf("and %.3g GB are free on this machine", float64(weights+cache-1)/1e9))
	machine, k.limit = 1<<40, all+weights+cache-1
	refused(fmt.Sprintf("are left of the %.3g GB that 'rankloop serve --memory' allows", float64(k.limit)/1e9))
	full := new(web.NoRoomError)
	if err := k.Room(ctx, next[0]); !errors.As(err, &full) || full.Limit != k.limit || full.Free != weights+cache-1 {
		t.Fatalf("%v", err)
	}

	k.limit++
	c := start(next[0])
	must(k.load(ctx))
	if loaded, _ := slot.Memory(); len(slot.Versions()) != 2 || loaded > k.limit {
		t.Fatalf("%v loaded, %d of %d bytes", slot.Versions(), loaded, k.limit)
	}
	trial := weak.Make(k.trial)
	must(a.loop.AbortCanary(ctx, c.ID, "test", "enough"))
	must(k.load(ctx))
	if now, _ := slot.Memory(); len(slot.Versions()) != 1 || now != all {
		t.Fatalf("after the end %v are loaded, %d bytes", slot.Versions(), now)
	}
	gone(t, "the canary that ended", trial)

	// A promotion takes the place of what served before, where there is no room for both.
	former, err := slot.Acquire()
	must(err)
	was := weak.Make(former)
	former.Release()
	former = nil
	k.limit = all
	must(a.loop.Promote(ctx, next[1].ID, "test", "it wins"))
	must(k.load(ctx))
	if list := slot.Versions(); len(list) != 1 || list[0].ID != next[1].ID {
		t.Fatalf("loaded are %v", list)
	}
	gone(t, "what served before", was)

	// After a restart one that served before is kept where there is room for it beside what serves.
	for limit, want := range map[int64]int{0: 2, all + weights + cache - 1: 1} {
		again := newKeeper(a, &web.Slot{Keep: 1}, serverOptions{KVCache: kv, Memory: limit})
		again.free = k.free
		must(again.loadFormer(ctx))
		must(again.load(ctx))
		if list := again.slot.Versions(); len(list) != want || list[0].ID != next[1].ID {
			t.Errorf("with a limit of %d bytes %v are loaded, want %d", limit, list, want)
		}
		again.slot.Set(nil)
	}
}

// gone waits until nothing holds a policy any more.
func gone(t *testing.T, what string, p weak.Pointer[web.Served]) {
	t.Helper()
	for range 20 {
		if runtime.GC(); p.Value() == nil {
			return
		}
	}
	t.Fatalf("%s is still held", what)
}
