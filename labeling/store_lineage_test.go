package labeling

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestLineage: what is traced through the snapshots, and whose work one holds, is what reading all of them says; and a snapshot
// without a subject is the same list without its rankings.
func TestLineage(t *testing.T) {
	b := setup(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 24 {
		n := NewPrompt{Text: fmt.Sprintf("question %d", i), Origin: OriginImport}
		if i%3 > 0 {
			n = NewPrompt{Text: n.Text, Origin: OriginAPI, CustomerID: fmt.Sprintf("customer%d", i%3), APIKeyID: "key", Consent: true}
		}
		p, _, err := b.add(n)
		b.ok(err)
		b.task(p, 2+i%2, 1+i%3, fmt.Sprintf("batch%d", i%2))
	}
	labelers := []string{"ann", "bob", "cy", "dee"}
	for range 200 {
		a, err := b.store.Claim(b.ctx, b.project.ID, labelers[rng.IntN(len(labelers))])
		if errors.Is(err, ErrEmpty) {
			continue
		}
		b.ok(err)
		b.submit(a)
	}
	var snaps []Snapshot
	for _, f := range []SnapshotFilter{{}, {Batches: []string{"batch0"}}, {Splits: []string{Train}},
		{Without: []Subject{{SubjectLabeler, "ann"}, {SubjectCustomer, "customer1"}}}} {
		s, err := b.store.MakeSnapshot(b.ctx, b.project.ID, f, "test")
		b.ok(err)
		snaps = append(snaps, s)
	}
	// Read whole.
	held := map[string]map[Subject]int{}
	subjects := map[Subject]bool{}
	whole := map[string][]string{} // rankings of a snapshot
	for _, s := range snaps {
		items, err := b.store.SnapshotItems(b.ctx, s.ID)
		b.ok(err)
		held[s.ID] = map[Subject]int{}
		for _, p := range items {
			for _, k := range p.Rankings {
				for _, subject := range []Subject{{SubjectLabeler, k.LabelerID}, {SubjectCustomer, p.CustomerID}, {SubjectRanking, k.RankingID}} {
					held[s.ID][subject]++
					subjects[subject] = true
				}
				whole[s.ID] = append(whole[s.ID], k.RankingID)
			}
		}
	}
	traced := 0
	for subject := range subjects {
		if subject.ID == "" {
			continue
		}
		var want []Touched
		for _, s := range snaps {
			if n := held[s.ID][subject]; n > 0 {
				want = append(want, Touched{ID: s.ID, Name: s.Name, Rankings: n})
			}
		}
		got, err := b.store.SnapshotsOf(b.ctx, subject)
		b.ok(err)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", subject, got, want)
		}
		traced++
	}
	if traced < 30 {
		t.Errorf("only %d subjects", traced)
	}
	for _, s := range snaps {
		o, err := b.store.SnapshotOrigin(b.ctx, s.ID)
		b.ok(err)
		for kind, parts := range map[string][]Part{SubjectLabeler: o.Labelers, SubjectCustomer: o.Customers} {
			n := 0
			for _, p := range parts {
				if n += p.N; held[s.ID][Subject{kind, p.ID}] != p.N {
					t.Errorf("%s %q of %s has %d, want %d", kind, p.ID, s.Name, p.N, held[s.ID][Subject{kind, p.ID}])
				}
			}
			if n != s.N {
				t.Errorf("%ss of %s have %d of %d", kind, s.Name, n, s.N)
			}
		}
		if len(o.Guidelines) != 1 || o.Guidelines[0].N != s.N || len(o.Models) == 0 {
			t.Errorf("%+v", o)
		}
	}
	var kept []string
	items, err := b.store.SnapshotItems(b.ctx, snaps[0].ID)
	b.ok(err)
	for _, p := range items {
		for _, k := range p.Rankings {
			if k.LabelerID != "ann" && p.CustomerID != "customer1" {
				kept = append(kept, k.RankingID)
			}
		}
	}
	if !slices.Equal(whole[snaps[3].ID], kept) || len(kept) == 0 || len(kept) == snaps[0].N {
		t.Errorf("without ann and customer1 there are %d rankings, want %d of %d", len(whole[snaps[3].ID]), len(kept), snaps[0].N)
	}
	b.invalid(second(b.store.SnapshotsOf(b.ctx, Subject{"prompt", "x"})), "subject")
	b.invalid(second(b.store.MakeSnapshot(b.ctx, b.project.ID, SnapshotFilter{Without: []Subject{{SubjectLabeler, ""}}}, "test")), "without/0")
	everyone := make([]Subject, len(labelers))
	for i, l := range labelers {
		everyone[i] = Subject{SubjectLabeler, l}
	}
	if _, err := b.store.MakeSnapshot(b.ctx, b.project.ID, SnapshotFilter{Without: everyone}, "test"); !errors.Is(err, ErrEmpty) {
		t.Errorf("without anybody: %v", err)
	}
	if !strings.Contains(everyone[0].String(), "labeler:ann") {
		t.Error(everyone[0])
	}
}
