package run

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// The test binary runs itself as the training process.
const (
	childURL   = "RANKLOOP_TEST_RUN_URL"
	childDir   = "RANKLOOP_TEST_RUN_DIR"
	childSlice = "RANKLOOP_TEST_RUN_SLICE"
)

func child(url, dir string) int {
	ctx := context.Background()
	var pool *pgxpool.Pool
	slice, err := time.ParseDuration(os.Getenv(childSlice))
	if err == nil {
		if pool, err = pgxpool.New(ctx, url); err == nil {
			if err = NewStore(pool).Reap(ctx, 0); err == nil { // this process knows itself alone
				_, err = startClient(ctx, pool, &toyHooks{}, Options{Dir: dir, Slice: slice, Heartbeat: 30 * time.Millisecond,
					Logger: slog.New(slog.DiscardHandler)})
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Until killed. The server may still hold the lock of the process killed before, which the first look passes over.
	for {
		time.Sleep(time.Second)
		if err := NewStore(pool).Reap(ctx, 5*time.Second); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// Kill -9 in the middle, five times: the same final state, no metric row doubled, no file left.
func TestKillDoesNotMatter(t *testing.T) {
	for name, slice := range map[string]time.Duration{"each step": EachStep, "50 ms": 50 * time.Millisecond, "400 ms": 400 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := toyConfig{Steps: 350, Seed: 11, Pause: 8 * time.Millisecond}
			b := newBench(t)
			r := b.create(cfg)
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed of the kills: %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			var steps []string
			for kill := 0; ; kill++ {
				cmd := exec.Command(exe)
				cmd.Env = append(os.Environ(), childURL+"="+b.pool.Config().ConnString(), childDir+"="+b.dir, childSlice+"="+slice.String())
				cmd.Stderr = os.Stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				end := func() { cmd.Process.Kill(); cmd.Wait() }
				t.Cleanup(end)
				if kill == 5 {
					b.wait(r.ID, Done, Failed)
					end()
					break
				}
				epoch := b.run(r.ID).Epoch
				b.until(func() bool {
					now := b.run(r.ID)
					return now.HeartbeatAt != nil && (kill == 0 || now.Epoch > epoch || now.Step > 0) || now.State == Done
				}, func() string { return "the process to begin" })
				time.Sleep(time.Duration(rng.IntN(450)) * time.Millisecond)
				end()
				now := b.run(r.ID)
				steps = append(steps, fmt.Sprintf("%d of %d", now.Step, now.LiveStep))
				if now.State != Running && now.State != Queued {
					t.Fatalf("the run was over before kill %d: the test tests too little", kill+1)
				}
			}
			t.Logf("committed steps at the kills: %s; epoch %d", strings.Join(steps, ", "), b.run(r.ID).Epoch)
			b.finished(r, cfg)
			if b.run(r.ID).Epoch < 2 {
				t.Error("no kill hit a running slice: the test tests too little")
			}
		})
	}
}
