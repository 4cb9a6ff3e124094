package labeling

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// slowAlpha is Krippendorff's alpha of ordinal data as it is defined, pair by pair: 1 - observed/expected disagreement, where values
// in between two make these differ (Krippendorff 2011, section C).
func slowAlpha(units [][]int) float64 {
	var all []int
	for _, u := range units {
		if len(u) > 1 {
			all = append(all, u...)
		}
	}
	disagree := func(a, b int) float64 {
		lo, hi, d := min(a, b), max(a, b), 0.0
		for _, v := range all {
			switch {
			case v == lo || v == hi:
				d += .5
			case lo < v && v < hi:
				d++
			}
		}
		return d * d
	}
	var observed, expected float64
	for _, u := range units {
		for i := range u {
			for j := range u {
				if i != j && u[i] != u[j] {
					observed += disagree(u[i], u[j]) / float64(len(u)-1)
				}
			}
		}
	}
	for i, a := range all {
		for j, b := range all {
			if i != j && a != b {
				expected += disagree(a, b)
			}
		}
	}
	n := float64(len(all))
	return 1 - observed/n/(expected/(n*(n-1)))
}

// TestAgreementByCategory: the dashboard's alpha and share of each category are what comes out by looking at every pair of rankings.
func TestAgreementByCategory(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	b := setup(t, func(p *Project) { p.Overlap = 3 })
	b.store.part = 4
	kinds := []NewPrompt{
		{Origin: OriginLabeler, Kind: "few-shot", Language: "fr"}, {Origin: OriginImport, Language: "zh-Hant"}, {Origin: OriginImport, Language: "fr"}, {Origin: OriginImport},
		{Origin: OriginAPI, CustomerID: "acme", APIKeyID: "key", Consent: true},
	}
	names := []string{"few-shot", "zh-Hant", "fr", "import", "api"}
	category := map[string]string{} // of tasks
	for i := range 30 {
		n := kinds[i%len(kinds)]
		n.Text, n.Split = fmt.Sprintf("question %d of many", i), Train
		p, _, err := b.add(n)
		b.ok(err)
		if got := p.Category(); got != names[i%len(kinds)] {
			t.Fatalf("%+v is of the category %s", n, got)
		}
		category[b.task(p, 3+i%2, 3, "").ID] = p.Category()
	}
	ranked := map[string][][]int{} // by task
	for _, who := range []string{"ann", "bo", "carl"} {
		for range 30 {
			a := b.claim(who)
			in := best(a, newKey())
			for i := range in.Ranks {
				if r.IntN(3) == 0 {
					in.Ranks[i] = 1 + r.IntN(len(in.Ranks))
				}
			}
			_, err := b.store.Submit(b.ctx, in, nil)
			b.ok(err)
		}
	}
	rows, err := b.pool.Query(b.ctx, `SELECT task_id::text, ranks::int[] FROM rankings`)
	b.ok(err)
	for rows.Next() {
		var task string
		var ranks []int
		b.ok(rows.Scan(&task, &ranks))
		ranked[task] = append(ranked[task], ranks)
	}
	b.ok(rows.Err())

	_, d := b.refreshed()
	if len(d.Categories) != len(names) {
		t.Fatalf("%d categories: %+v", len(d.Categories), d.Categories)
	}
	for _, part := range d.Categories {
		var units [][]int
		var alike, pairs, n int
		for task, list := range ranked {
			if category[task] != part.Of {
				continue
			}
			n += len(list)
			for i := range list[0] {
				var values []int
				for _, ranks := range list {
					values = append(values, ranks[i])
				}
				units = append(units, values)
				for j := range i {
					for x, a := range list {
						for _, c := range list[:x] {
							if a[i] != a[j] && c[i] != c[j] {
								pairs++
								if (a[i] < a[j]) == (c[i] < c[j]) {
									alike++
								}
							}
						}
					}
				}
			}
		}
		if part.N != n || part.Pairs != pairs || math.Abs(part.Pairwise-float64(alike)/float64(pairs)) > 1e-12 || math.Abs(part.Alpha-slowAlpha(units)) > 1e-9 {
			t.Errorf("%s: %+v; counted %d rankings, %d of %d pairs alike, alpha %g", part.Of, part.Agreement, n, alike, pairs, slowAlpha(units))
		}
	}

	// Sums of a release that knew no categories are made anew.
	var raw []byte
	b.ok(b.pool.QueryRow(b.ctx, `SELECT sums FROM labeling_sums`).Scan(&raw))
	var old figures
	b.ok(old.decode(raw))
	old.Kinds = nil
	raw, err = old.encode()
	b.ok(err)
	_, err = b.pool.Exec(b.ctx, `UPDATE labeling_sums SET sums = $1`, raw)
	b.ok(err)
	if _, again := b.refreshed(); !gocmp.Equal(again, d) {
		t.Errorf("made anew: %s", gocmp.Diff(d, again))
	}
}
