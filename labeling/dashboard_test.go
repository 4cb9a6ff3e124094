package labeling

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func itoa(n int) string { return strconv.Itoa(n) }

// nearBin: as near as a histogram is.
func nearBin(got, want float64) bool { return math.Abs(got-want) <= .006*want }

// TestTally: three labelers on two tasks, by hand. Mina and Tom agree, Yuki says the opposite; all was shown in stored order.
func TestTally(t *testing.T) {
	monday := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	at := func(day int) time.Time { return monday.AddDate(0, 0, day).Add(10 * time.Hour) }
	ranking := func(who string, ms int64, day int, ranks ...int) countedRanking {
		return countedRanking{who, ranks, []int{0, 1, 2}, ms, at(day)}
	}
	s := new(figures)
	s.add(countedTask{[]int{10, 20, 30}, []countedRanking{ranking("mina", 30_000, 6, 1, 2, 3), ranking("tom", 40_000, 0, 1, 2, 3), ranking("yuki", 2_000, 0, 3, 2, 1)}, "fr"})
	s.add(countedTask{[]int{10, 10, 30}, []countedRanking{ranking("mina", 50_000, 7, 2, 1, 2)}, "api"})
	s.add(countedTask{})
	s.Need, s.Done = 10, 4
	d := Dashboard{ComputedAt: at(7), Labelers: []LabelerStats{{LabelerID: "mina", Done: 2}, {LabelerID: "yuki", Done: 1}, {LabelerID: "idle"}}}
	s.fill(&d)
	if d.Rankings != 4 || d.Agreement.Tasks != 1 || d.Agreement.Pairs != 9 || math.Abs(d.Agreement.Pairwise-1./3) > 1e-12 {
		t.Errorf("%+v", d.Agreement)
	}
	if want := []DayCount{{monday, 2}, {monday.AddDate(0, 0, 6), 1}, {monday.AddDate(0, 0, 7), 1}}; !cmp.Equal(d.Days, want) {
		t.Errorf("days %v", d.Days)
	}
	if len(d.Weeks) != 2 || d.Weeks[0].Of != "2026-03-02" || d.Weeks[0].N != 3 || d.Weeks[1].Of != "2026-03-09" {
		t.Errorf("weeks %+v", d.Weeks)
	}
	if len(d.Categories) != 2 || d.Categories[0].Of != "fr" || d.Categories[0].N != 3 || d.Categories[0].Pairs != 9 || d.Categories[1].N != 1 || d.Categories[1].Pairs != 0 {
		t.Errorf("categories %+v", d.Categories)
	}
	// Rates: of the seven days to the ninth of March, two rankings; six are still wanted.
	if rate, days, ok := d.Rate(); !ok || rate != 2./7 || days != 21 {
		t.Errorf("%g a day, %g days, %v", rate, days, ok)
	}
	// Places: mean ranks (1+1+3+2.5)/4, (2+2+2+1)/4, (3+3+1+2.5)/4.
	if want := []float64{1.875, 1.75, 2.375}; len(d.Places) != 1 || !cmp.Equal(d.Places[0].Mean, want) || d.Places[0].Rankings != 4 {
		t.Errorf("places %+v", d.Places)
	}
	// Longer wins: yuki's three pairs, and of mina's second task the one strict pair of unequal length is won by the shorter.
	if d.Longer.N != 10 || d.Longer.Value != .3 {
		t.Errorf("longer %+v", d.Longer)
	}
	mina, yuki, idle := d.Labelers[0], d.Labelers[1], d.Labelers[2]
	if mina.Agreement.Value != .5 || mina.Agreement.N != 6 || yuki.Agreement.Value != 0 || yuki.Longer.Value != 1 || mina.Longer.Value != 0 {
		t.Errorf("%+v %+v", mina, yuki)
	}
	if yuki.PlaceTau.Value != -1 || mina.PlaceTau.Value != .5 || mina.PlaceTau.N != 2 {
		t.Errorf("place %+v %+v", yuki.PlaceTau, mina.PlaceTau)
	}
	// Seconds per 1000 characters: 500, 667, 33, 1000; the median is 500, so 33 is fast.
	if !nearBin(d.Reading, 500) || yuki.Fast.Value != 1 || mina.Fast.Value != 0 || !nearBin(mina.Median, 30) || !nearBin(mina.P90, 50) {
		t.Errorf("reading %g, %+v %+v", d.Reading, yuki, mina)
	}
	if want := []int{0, 1, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0}; !cmp.Equal(d.Times, want) {
		t.Errorf("times %v", d.Times)
	}
	if !cmp.Equal(idle, LabelerStats{LabelerID: "idle"}) {
		t.Errorf("%+v", idle)
	}
}

// TestTallyAgrees: whatever the rankings, the tally's agreement is Agree's, and the labelers' pairs are its pairs twice.
func TestTallyAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := new(figures)
		var tasks [][][]int
		d := Dashboard{}
		for i := range 4 {
			d.Labelers = append(d.Labelers, LabelerStats{LabelerID: fmt.Sprint(i)})
		}
		for range rapid.IntRange(0, 12).Draw(t, "tasks") {
			k := rapid.IntRange(MinAnswers, MaxAnswers).Draw(t, "k")
			task := countedTask{}
			var vectors [][]int
			for l := range rapid.IntRange(0, 4).Draw(t, "labelers") {
				ranks, err := Canonical(rapid.SliceOfN(rapid.IntRange(1, k), k, k).Draw(t, "ranks"))
				if err != nil {
					t.Fatal(err)
				}
				vectors = append(vectors, ranks)
				task.rankings = append(task.rankings, countedRanking{labelerID: fmt.Sprint(l), ranks: ranks})
			}
			s.add(task)
			tasks = append(tasks, vectors)
		}
		s.fill(&d)
		want := Agree(tasks)
		if !cmp.Equal(d.Agreement, want) {
			t.Fatalf("%+v, want %+v", d.Agreement, want)
		}
		pairs := 0
		for _, l := range d.Labelers {
			pairs += l.Agreement.N
		}
		if pairs != 2*want.Pairs {
			t.Fatalf("%d pairs of labelers, %d in all", pairs, want.Pairs)
		}
	})
}

// TestDashboard: what the store reads is what was submitted; surplus, held and reopened work is treated as it should be.
func TestDashboard(t *testing.T) {
	b := setup(t)
	_, err := b.store.Dashboard(b.ctx, b.project.ID)
	b.is(err, ErrNotFound)
	b.is(b.store.RefreshDashboard(b.ctx, "x"), ErrNotFound)
	b.is(b.store.RefreshDashboard(b.ctx, newKey()), ErrNotFound)
	b.ok(b.store.RefreshDashboards(b.ctx))
	d, err := b.store.Dashboard(b.ctx, b.project.ID)
	b.ok(err)
	if d.Rankings != 0 || d.ComputedAt.IsZero() || len(d.Labelers) != 0 {
		t.Errorf("empty: %+v", d)
	}
	if _, _, ok := d.Rate(); ok {
		t.Error("a rate of nothing")
	}

	b.tasks(3, 4, 2, "round")
	for _, who := range []string{"ann", "bob"} {
		for range 3 {
			b.submit(b.claim(who))
		}
	}
	late := b.claimOf("eve", b.tasks(1, 4, 1, "late")[0])
	b.expire(late)
	_, err = b.store.Sweep(b.ctx)
	b.ok(err)
	b.submit(b.claim("ann"))
	b.submit(late) // surplus
	held := b.claimOf("ann", b.tasks(1, 4, 1, "held")[0])
	in := best(held, newKey())
	in.Flags = [][]string{{FlagUnsafe}, nil, nil, nil}
	_, err = b.store.Submit(b.ctx, in, nil)
	b.ok(err)
	b.tasks(2, 3, 5, "open")

	b.sql(`UPDATE labeling_stats SET took_ms = 0`) // it has rested
	b.ok(b.store.RefreshDashboards(b.ctx))
	d, err = b.store.Dashboard(b.ctx, b.project.ID)
	b.ok(err)
	if want := map[string]int{TaskDone: 4, TaskHeld: 1, TaskOpen: 2}; !cmp.Equal(d.States, want) || d.Need != 17 || d.Done != 7 {
		t.Errorf("states %v, %d of %d", d.States, d.Done, d.Need)
	}
	if d.Rankings != 7 || d.Agreement.Tasks != 3 || d.Agreement.Pairwise != 1 || d.Agreement.Alpha != 1 || len(d.Days) == 0 {
		t.Errorf("%d rankings, %+v", d.Rankings, d.Agreement)
	}
	ann := d.Labelers[0]
	if ann.LabelerID != "ann" || ann.Done != 5 || !nearBin(ann.Median, .9) || ann.Agreement.N != 18 || ann.LastSeen.IsZero() || math.Abs(ann.Hours-4.5/3600) > 1e-9 {
		t.Errorf("%+v", ann)
	}
	// Nothing new: it is left alone. Something new: it is not, once it has rested.
	b.sql(`UPDATE labeling_stats SET took_ms = 0`)
	b.ok(b.store.RefreshDashboards(b.ctx))
	if again, err := b.store.Dashboard(b.ctx, b.project.ID); err != nil || !again.ComputedAt.Equal(d.ComputedAt) {
		t.Errorf("computed again: %v %v", again.ComputedAt, err)
	}
	b.submit(b.claim("ann"))
	b.sql(`UPDATE labeling_stats SET took_ms = 600000`)
	b.ok(b.store.RefreshDashboards(b.ctx))
	if again, err := b.store.Dashboard(b.ctx, b.project.ID); err != nil || again.Rankings != 7 {
		t.Errorf("computed before it has rested: %v", err)
	}
	b.sql(`UPDATE labeling_stats SET took_ms = 0`)
	b.ok(b.store.RefreshDashboards(b.ctx))
	if again, err := b.store.Dashboard(b.ctx, b.project.ID); err != nil || again.Rankings != 8 {
		t.Errorf("not computed again: %v", err)
	}
}

// claimOf claims the task, whatever else is open.
func (b *bench) claimOf(labeler string, task Task) *Assignment {
	b.Helper()
	b.sql(`UPDATE tasks SET lane = -1 WHERE id = $1`, task.ID)
	a := b.claim(labeler)
	if a.TaskID != task.ID {
		b.Fatalf("claimed %s, wanted %s", a.TaskID, task.ID)
	}
	return a
}

// TestDashboardInChunks: a project larger than a chunk is counted whole, however it is cut.
func TestDashboardInChunks(t *testing.T) {
	b := setup(t)
	const n = 8_000
	b.bulk(n, true)
	b.ok(b.store.RefreshDashboard(b.ctx, b.project.ID))
	d, err := b.store.Dashboard(b.ctx, b.project.ID)
	b.ok(err)
	want := b.count(`SELECT count(*) FROM rankings r JOIN tasks t ON t.id = r.task_id WHERE t.held = ''`)
	if d.Rankings != want || d.Agreement.Tasks != b.count(`SELECT count(*) FROM tasks WHERE held = '' AND done = 2`) || len(d.Labelers) != 10 {
		t.Errorf("%d rankings, want %d; %+v", d.Rankings, want, d.Agreement)
	}
	for _, part := range []int{n + 1, 3_000, 999} {
		b.store.part = part
		b.sql(`DELETE FROM labeling_sums`)
		b.ok(b.store.RefreshDashboard(b.ctx, b.project.ID))
		again, err := b.store.Dashboard(b.ctx, b.project.ID)
		b.ok(err)
		again.ComputedAt, again.Took = d.ComputedAt, d.Took
		if !cmp.Equal(again, d) || b.count(`SELECT count(*) FROM labeling_figures`) != n/part+1 {
			t.Errorf("parts of %d: %s", part, cmp.Diff(d, again))
		}
	}
}

// TestDashboardGold: a ranking of a gold task is scored against the known ranks, and is no part of the other figures.
func TestDashboardGold(t *testing.T) {
	b := setup(t)
	task := b.tasks(1, 4, 2, "")[0]
	for _, who := range []string{"ann", "bob"} {
		b.submit(b.claimOf(who, task))
	}
	score := func(of string) Share {
		t.Helper()
		b.ok(b.store.RefreshDashboard(b.ctx, b.project.ID))
		d, err := b.store.Dashboard(b.ctx, b.project.ID)
		b.ok(err)
		for _, l := range d.Labelers {
			if l.LabelerID == of {
				return l.Gold
			}
		}
		t.Fatalf("%s is not listed", of)
		return Share{}
	}
	if got := score("ann"); got.N != 0 {
		t.Errorf("a score without a gold task: %+v", got)
	}
	var ranks []int
	b.ok(b.store.pool.QueryRow(b.ctx, `SELECT ranks::int[] FROM rankings WHERE task_id = $1 AND labeler_id = 'ann'`, task.ID).Scan(&ranks))
	known := make([]int, 4) // the second and third trade places, the third and fourth are tied: 5 strict pairs, 4 alike
	for i, r := range ranks {
		known[i] = []int{0, 1, 3, 2, 3}[r]
	}
	b.ok(b.store.MarkGold(b.ctx, Gold{TaskID: task.ID, Stage: GoldStream, Ranks: known}, "system"))
	if got := score("ann"); got.N != 5 || got.Value != .8 || got.Low >= .8 || got.High <= .8 {
		t.Errorf("%+v, want 4 of 5", got)
	}
	if got := score("bob"); got.N != 5 {
		t.Errorf("bob: %+v", got)
	}
}
