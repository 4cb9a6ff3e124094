package labeling

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawRanks(t *rapid.T, k int) []int {
	return rapid.SliceOfN(rapid.IntRange(1, k), k, k).Draw(t, "ranks")
}

func sign(x int) int {
	switch {
	case x < 0:
		return -1
	case x > 0:
		return 1
	}
	return 0
}

func TestCanonical(t *testing.T) {
	for _, c := range [][2][]int{{{1, 2, 2, 3}, {1, 2, 2, 4}}, {{5, 5, 5}, {1, 1, 1}}, {{9, 1, 4}, {3, 1, 2}}, {{2, 2, 1, 1}, {3, 3, 1, 1}}, {{1}, {1}}} {
		if got, err := Canonical(c[0]); err != nil || !slices.Equal(got, c[1]) {
			t.Errorf("%v: %v, %v, want %v", c[0], got, err, c[1])
		}
	}
	for _, bad := range [][]int{nil, {0}, {1, -1}} {
		if _, err := Canonical(bad); err == nil {
			t.Errorf("%v went through", bad)
		}
	}
}

func TestCanonicalProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, MaxAnswers).Draw(t, "k")
		ranks := drawRanks(t, k)
		out, err := Canonical(ranks)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ranks {
			better := 0
			for j := range ranks {
				if sign(ranks[i]-ranks[j]) != sign(out[i]-out[j]) {
					t.Fatalf("%v -> %v changes the order of %d and %d", ranks, out, i, j)
				}
				if ranks[j] < ranks[i] {
					better++
				}
			}
			if out[i] != better+1 {
				t.Fatalf("%v -> %v: %d answers are better than %d", ranks, out, better, i)
			}
		}
		if again, _ := Canonical(out); !slices.Equal(again, out) {
			t.Fatalf("%v is not its own canonical form", out)
		}
	})
}

func TestPairsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, MaxAnswers).Draw(t, "k")
		ranks := drawRanks(t, k)
		ties := 0
		for i := range ranks {
			for j := range i {
				if ranks[i] == ranks[j] {
					ties++
				}
			}
		}
		pairs := Pairs(ranks)
		if len(pairs) != k*(k-1)/2-ties {
			t.Fatalf("%d pairs of %v with %d ties", len(pairs), ranks, ties)
		}
		seen := map[[2]int]bool{}
		for _, p := range pairs {
			if ranks[p[0]] >= ranks[p[1]] || seen[p] {
				t.Fatalf("pair %v of %v", p, ranks)
			}
			seen[p] = true
		}
		canonical, _ := Canonical(ranks)
		if !slices.Equal(Pairs(canonical), pairs) {
			t.Fatalf("pairs of %v and of %v differ", ranks, canonical)
		}
	})
}

// What is ranked at a place on the screen reaches the response shown there.
func TestSheetUndoesTheShuffle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(MinAnswers, MaxAnswers).Draw(t, "k")
		order := rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7, 8}[:k]).Draw(t, "order")
		in := SubmitInput{Ranks: drawRanks(t, k), Ratings: rapid.SliceOfN(rapid.IntRange(0, 7), k, k).Draw(t, "ratings"), Flags: make([][]string, k)}
		flagged := rapid.IntRange(0, k-1).Draw(t, "flagged")
		in.Flags[flagged] = []string{FlagUnsafe, "opinion", FlagUnsafe}
		s, err := parseRanks(in, order)
		if err != nil {
			t.Fatal(err)
		}
		for d, pos := range order {
			for e, other := range order {
				if sign(in.Ranks[d]-in.Ranks[e]) != sign(s.ranks[pos]-s.ranks[other]) {
					t.Fatalf("order %v, ranks %v became %v", order, in.Ranks, s.ranks)
				}
			}
			if s.ratings[pos] != in.Ratings[d] || (len(s.flags[pos]) == 2) != (d == flagged) {
				t.Fatalf("ratings or flags of %d are not at %d", d, pos)
			}
		}
		if s.hold != FlagUnsafe {
			t.Fatalf("hold %q", s.hold)
		}
	})
}

// Every answer is shown in every place equally often, whatever k is.
func TestOrderIsUniform(t *testing.T) {
	const n = 20_000
	for k := MinAnswers; k <= MaxAnswers; k++ {
		var counts [MaxAnswers][MaxAnswers]float64
		for range n {
			order := Order(newKey(), k)
			if sorted := slices.Sorted(slices.Values(order)); len(sorted) != k || sorted[0] != 0 || sorted[k-1] != k-1 {
				t.Fatalf("order %v of %d", order, k)
			}
			for d, pos := range order {
				counts[d][pos]++
			}
		}
		want := n / float64(k)
		for d := range k {
			for pos := range k {
				if z := (counts[d][pos] - want) / math.Sqrt(want*(1-1/float64(k))); math.Abs(z) > 5 {
					t.Errorf("k %d: answer %d is at %d %v times, want %v", k, pos, d, counts[d][pos], want)
				}
			}
		}
	}
	id := newKey()
	if !slices.Equal(Order(id, 5), Order(id, 5)) {
		t.Error("the order of an assignment is not its own")
	}
}

func TestSplitByArrival(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		project := rapid.String().Draw(t, "project")
		valid := rapid.Float64Range(0, 0.5).Draw(t, "valid")
		test := rapid.Float64Range(0, 0.4).Draw(t, "test")
		n := rapid.IntRange(1, 200).Draw(t, "n")
		counts := map[string]float64{}
		for i := range n {
			counts[SplitByArrival(project, i, valid, test)]++
		}
		if d := counts[Valid] - float64(n)*valid; math.Abs(d) > 1 {
			t.Fatalf("%v of %d customers are valid at a share of %v", counts[Valid], n, valid)
		}
		if d := counts[Test] - float64(n)*test; math.Abs(d) > 2 {
			t.Fatalf("%v of %d customers are test at a share of %v", counts[Test], n, test)
		}
	})
	// One in eight: exactly one of any eight.
	for i := range 50 {
		n := 0
		for j := range 8 {
			if SplitByArrival("p", i+j, 0.125, 0) == Valid {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%d of customers %d..%d are valid", n, i, i+7)
		}
	}
}

func TestSplitByHash(t *testing.T) {
	counts := map[string]int{}
	for range 10_000 {
		counts[SplitByHash(newKey(), 0.12, 0.08)]++
	}
	if v, w := counts[Valid], counts[Test]; v < 1050 || v > 1350 || w < 680 || w > 920 {
		t.Errorf("%v at shares of .12 and .08", counts)
	}
}
