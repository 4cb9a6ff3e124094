package labeling

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func (b *bench) setOverlap(n int) {
	b.Helper()
	p, err := b.store.Project(b.ctx, b.project.ID)
	b.ok(err)
	p.Overlap = n
	_, err = b.store.UpdateProject(b.ctx, p, "user:admin", nil)
	b.ok(err)
}

// What a new overlap does to tasks in every state.
func TestOverlapLive(t *testing.T) {
	b := setup(t, func(p *Project) { p.Overlap = 2 })
	tasks := b.tasks(3, 2, 2, "")
	other := b.task(b.prompt("on purpose"), 2, 5, "")
	// The first task is finished, the second has one ranking and one lease, the third is untouched.
	for _, who := range []string{"ann", "bob"} {
		b.submit(b.claim(who))
	}
	b.submit(b.claim("ann"))
	held := b.claim("bob")
	state := func() (out [][3]int) {
		for _, task := range append(tasks[:3:3], other) {
			v, err := b.store.Task(b.ctx, task.ID)
			b.ok(err)
			out = append(out, [3]int{v.Need, v.OpenSlots, v.Done})
		}
		b.sound()
		return out
	}
	want := func(what string, states ...[3]int) {
		t.Helper()
		if got := state(); !slices.Equal(got, states) {
			t.Errorf("%s: need, open, done are %v, want %v", what, got, states)
		}
	}
	want("before", [3]int{2, 0, 2}, [3]int{2, 0, 1}, [3]int{2, 2, 0}, [3]int{5, 5, 0})
	b.setOverlap(4)
	want("raised to 4", [3]int{2, 0, 2}, [3]int{4, 2, 1}, [3]int{4, 4, 0}, [3]int{5, 5, 0})
	b.setOverlap(1)
	want("lowered to 1", [3]int{2, 0, 2}, [3]int{2, 0, 1}, [3]int{1, 1, 0}, [3]int{5, 5, 0})
	b.ok(b.store.Release(b.ctx, held.ID, "bob")) // its slot is closed, not opened
	want("given back", [3]int{2, 0, 2}, [3]int{1, 0, 1}, [3]int{1, 1, 0}, [3]int{5, 5, 0})
	b.setOverlap(3)
	want("raised to 3", [3]int{2, 0, 2}, [3]int{1, 0, 1}, [3]int{3, 3, 0}, [3]int{5, 5, 0})
}

// A lower overlap that completes what others wait for tells them.
func TestOverlapTellsTheLoop(t *testing.T) {
	b := setup(t, func(p *Project) { p.Overlap = 2 })
	b.tasks(1, 2, 2, "r")
	b.submit(b.claim("ann"))
	p := b.project
	p.Overlap = 1
	complete := false
	_, err := b.store.UpdateProject(b.ctx, p, "user:admin", func(ctx context.Context, tx pgx.Tx, project string) error {
		c, err := b.store.BatchCountsTx(ctx, tx, project, "r")
		complete = c.Complete == 1 && c.Done == c.Need
		return err
	})
	b.ok(err)
	if !complete {
		t.Error("the batch is not complete in the eyes of after")
	}
}

// Under claims, submits, skips, releases, sweeps and live changes of the overlap all at once, need = open + leased + done
// holds at every commit, and no task gets more labelers than the largest overlap there was.
func TestOverlapUnderLoad(t *testing.T) {
	b := setup(t, func(p *Project) { p.Overlap = 2 })
	b.tasks(25, 2, 2, "")
	const most = 4
	stop := make(chan struct{})
	var changes, watch sync.WaitGroup
	changes.Add(1)
	go func() {
		defer changes.Done()
		rng := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-stop:
				return
			default:
			}
			p, err := b.store.Project(b.ctx, b.project.ID)
			if err == nil {
				p.Overlap = 1 + rng.IntN(most)
				_, err = b.store.UpdateProject(b.ctx, p, "user:admin", nil)
			}
			if err != nil && !deadlocked(err) {
				t.Error(err)
			}
			if _, err := b.store.Sweep(b.ctx); err != nil && !deadlocked(err) {
				t.Error(err)
			}
		}
	}()
	watch.Add(1)
	go func() { // one statement sees one moment
		defer watch.Done()
		for {
			select {
			case <-stop:
				return
			default:
			}
			var wrong int
			err := b.pool.QueryRow(b.ctx, `SELECT count(*) FROM tasks t WHERE need <> open_slots + done + (SELECT count(*) FROM assignments a WHERE a.task_id = t.id AND a.state = 'leased')
				OR need > $1 OR done > need`, most).Scan(&wrong)
			if err != nil || wrong > 0 {
				t.Errorf("%d tasks do not add up, %v", wrong, err)
			}
		}
	}()
	together(6, func(i int) {
		who := string(rune('a' + i))
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		for range 60 {
			a, err := b.store.ClaimNext(b.ctx, b.project.ID, who)
			if errors.Is(err, ErrEmpty) {
				continue
			}
			if err == nil {
				switch rng.IntN(6) {
				case 0:
					err = b.store.Release(b.ctx, a.ID, who)
				case 1:
					err = b.store.Skip(b.ctx, a.ID, who, "cannot judge")
				case 2:
					_, err = b.pool.Exec(b.ctx, `UPDATE assignments SET lease_until = now() - interval '1 second' WHERE id = $1`, a.ID)
				default:
					_, err = b.store.Submit(b.ctx, best(a, newKey()), nil)
				}
			}
			if err != nil && !errors.Is(err, ErrTooManyLeases) && !errors.Is(err, ErrConflict) && !deadlocked(err) {
				t.Error(err)
			}
		}
	})
	close(stop)
	changes.Wait()
	watch.Wait()
	b.sound()
	if n := b.count(`SELECT count(*) FROM rankings`); n < 20 {
		t.Errorf("only %d rankings: nothing was tried", n)
	}
}

func TestProjects(t *testing.T) {
	b := setup(t)
	p, err := b.store.CreateProject(b.ctx, Project{Name: "dialogue", Question: QuestionDemonstration, Languages: []string{"en", "zh-Hant", "en"}}, "user:admin")
	b.ok(err)
	if p.K != 0 || p.Overlap != 1 || !slices.Equal(p.Languages, []string{"en", "zh-Hant"}) || p.Closed {
		t.Errorf("created %+v", p)
	}
	_, err = b.store.CreateProject(b.ctx, Project{Name: "dialogue"}, "user:admin")
	b.is(err, ErrConflict)
	for field, bad := range map[string]Project{"k": {Name: "x", Question: QuestionPairwise, K: 3}, "language": {Name: "x", Languages: []string{"chinese"}},
		"question": {Name: "x", Question: "essay"}, "prompt_cap": {Name: "x", PromptCap: -1}, "lease": {Name: "x", Lease: 1}} {
		b.invalid(second(b.store.CreateProject(b.ctx, bad, "user:admin")), field)
	}
	p.Closed = true
	p, err = b.store.UpdateProject(b.ctx, p, "user:admin", nil)
	b.ok(err)
	open, err := b.store.OpenProjects(b.ctx)
	b.ok(err)
	if len(open) != 1 || open[0].ID != b.project.ID {
		t.Errorf("open: %+v", open)
	}
	_, _, err = b.store.WritePrompt(b.ctx, WrittenPrompt{ProjectID: p.ID, LabelerID: "ann", Kind: KindPlain, Text: "x"})
	b.is(err, ErrNotFound)
	if n := b.count(`SELECT count(*) FROM audit WHERE subject = $1 AND act IN ('labeling.create_project', 'labeling.update_project')`, p.ID); n != 2 {
		t.Errorf("%d audit rows", n)
	}
}

// A new version of the guideline is asked about once: of those who worked under an older one, not of newcomers.
func TestAcknowledge(t *testing.T) {
	b := setup(t)
	b.tasks(6, 2, 2, "")
	if a := b.claim("ann"); a.Unread {
		t.Error("a newcomer is asked to read again")
	}
	b.submit(b.claim("ann"))
	p := b.project
	p.Instructions = "Prefer the honest answer."
	_, err := b.store.UpdateProject(b.ctx, p, "user:admin", nil)
	b.ok(err)
	a := b.claim("ann")
	if !a.Unread || a.Guideline != 2 {
		t.Errorf("after the change: %+v", a)
	}
	if bob := b.claim("bob"); bob.Unread {
		t.Error("a newcomer is asked to read again")
	}
	b.is(b.store.Acknowledge(b.ctx, p.ID, "ann", 3), ErrNotFound)
	for range 2 {
		b.ok(b.store.Acknowledge(b.ctx, p.ID, "ann", 2))
	}
	b.ok(b.store.Acknowledge(b.ctx, p.ID, "ann", 1)) // an older tab
	b.submit(a)
	if a := b.claim("ann"); a.Unread {
		t.Error("asked twice")
	}
	list, err := b.store.Guidelines(b.ctx, p.ID)
	b.ok(err)
	if len(list) != 2 || list[0].Version != 2 || list[0].Read != 2 || list[1].Body != b.project.Instructions {
		t.Errorf("versions %+v", list)
	}
	if n := b.count(`SELECT count(*) FROM audit WHERE act = 'labeling.acknowledge'`); n != 1 {
		t.Errorf("%d audit rows, want 1", n)
	}
}

func TestHistory(t *testing.T) {
	b := setup(t)
	b.tasks(7, 3, 1, "")
	var ids []string
	for range 5 {
		ids = append(ids, b.submit(b.claim("ann")).ID)
	}
	b.submit(b.claim("bob"))
	b.freeze("first")
	last := b.claim("ann")
	in := best(last, newKey())
	in.Ratings = []int{7, 0, 1}
	r, err := b.store.Submit(b.ctx, in, nil)
	b.ok(err)
	ids = append(ids, r.ID)
	slices.Reverse(ids)
	var got []string
	before := ""
	for {
		page, err := b.store.History(b.ctx, b.project.ID, "ann", before, 4)
		b.ok(err)
		if len(page) == 0 {
			break
		}
		for _, w := range page {
			got = append(got, w.ID)
			if (w.Snapshot == "") != (w.ID == r.ID) {
				t.Errorf("%s is frozen by %q", w.ID, w.Snapshot)
			}
			if w.ID == r.ID && (!slices.Equal(w.Ranks, in.Ranks) || !slices.Equal(w.Ratings, in.Ratings)) {
				t.Errorf("shown as %v %v, submitted %v %v", w.Ranks, w.Ratings, in.Ranks, in.Ratings)
			}
		}
		before = page[len(page)-1].ID
	}
	if !slices.Equal(got, ids) {
		t.Errorf("history %v, want %v", got, ids)
	}
	b.invalid(second(b.store.History(b.ctx, b.project.ID, "ann", "x", 4)), "before")
	_, err = b.store.ReopenAssignment(b.ctx, last.ID, "bob")
	b.is(err, ErrNotFound)
	_, err = b.store.ReopenAssignment(b.ctx, last.ID, "ann")
	b.ok(err)
	if a := b.claim("ann"); a.ID != last.ID || a.State != Reopened {
		t.Errorf("what was opened again is not what a claim gives: %+v", a)
	}
}

func TestWritePrompt(t *testing.T) {
	b := setup(t, asks(QuestionDemonstration), func(p *Project) { p.PromptCap, p.Languages = 3, []string{"en"} })
	write := func(change func(*WrittenPrompt)) (Prompt, bool, error) {
		w := WrittenPrompt{ProjectID: b.project.ID, LabelerID: "ann", Kind: KindPlain, Language: "en", Text: "Write a rhyme."}
		change(&w)
		return b.store.WritePrompt(b.ctx, w)
	}
	p, created, err := write(func(w *WrittenPrompt) { w.Answer = "Cat, hat." })
	b.ok(err)
	if !created || p.Origin != OriginLabeler || p.Kind != KindPlain || p.Language != "en" || !p.Usable {
		t.Errorf("written %+v", p)
	}
	_, created, err = write(func(w *WrittenPrompt) { w.Answer = "Cat, hat." }) // sent twice
	b.ok(err)
	if created {
		t.Error("the same prompt is there twice")
	}
	list, err := b.store.Demonstrations(b.ctx, b.project.ID, time.Time{}, 10)
	b.ok(err)
	if want := 1; p.Split == Test {
		t.Fatal("no test share, and yet a test prompt")
	} else if len(list) != want || list[0].Response != "Cat, hat." || list[0].LabelerID != "ann" {
		t.Errorf("demonstrations %+v", list)
	}
	u, err := b.store.AddUseCase(b.ctx, b.project.ID, "Summarise e-mails of customers", "user:admin")
	b.ok(err)
	_, created, err = write(func(w *WrittenPrompt) { w.Kind, w.UseCaseID, w.Text = KindUserBased, u.ID, "Summarise: ..." })
	b.ok(err)
	if a := b.claim("ann"); !created || a.Messages[0].Content != "Summarise: ..." { // to be answered at once
		t.Errorf("claimed %+v", a)
	}
	b.invalid(second2(write(func(w *WrittenPrompt) { w.Kind, w.UseCaseID = KindUserBased, b.project.ID })), "use_case")
	b.ok(b.store.RetireUseCase(b.ctx, b.project.ID, u.ID, "user:admin"))
	b.is(b.store.RetireUseCase(b.ctx, b.project.ID, u.ID, "user:admin"), ErrNotFound)
	b.invalid(second2(write(func(w *WrittenPrompt) { w.Kind, w.UseCaseID, w.Text = KindUserBased, u.ID, "more" })), "use_case")
	_, _, err = write(func(w *WrittenPrompt) {
		w.Kind, w.Pairs, w.Query = KindFewShot, []Pair{{"a", "b"}}, "c"
	})
	b.ok(err)
	_, _, err = write(func(w *WrittenPrompt) { w.Text = "one more" })
	b.is(err, ErrCapped)
	b.sound()
}
