package web

import (
	"html"
	"net/http"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// TestModelFigures: the page of a model names its figures and says what each is, in the reader's language; one name means on a reward
// model what it does not on a policy, and what nobody defines is shown by its name alone.
func TestModelFigures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	figures := map[string]float64{"heldout_loss": .481, "heldout_accuracy": .742, "heldout_n": 930, "ceiling": .79, "kl": 2.5, "odd_<one>": 3}
	judge := w.register(registry.Version{Kind: registry.Reward, Name: "judge", Digest: "sha256:" + repeat("a"), Metrics: figures})
	base := w.register(registry.Version{Kind: registry.Base, Name: "base", Digest: "sha256:" + repeat("b"), Metrics: map[string]float64{"heldout_loss": 1.75, "step": 4000, "tokens": 2e6}})
	rows := func(page string) []string {
		t.Helper()
		_, table, ok := strings.Cut(page, `<table class="measured">`)
		if !ok {
			t.Fatal("nothing is measured")
		}
		table, _, _ = strings.Cut(table, "</table>")
		var out []string
		for _, row := range strings.Split(table, "<tr>")[2:] {
			out = append(out, strings.Join(strings.Fields(html.UnescapeString(marks.ReplaceAllString(strings.NewReplacer("</t", " | </t", "<br>", " | ").Replace(row), ""))), " "))
		}
		return out
	}
	same := func(id string, want ...string) {
		t.Helper()
		got := rows(ada.get("/admin/models/"+id).want(t, http.StatusOK).body)
		if len(got) != len(want) {
			t.Fatalf("%d rows, want %d: %q", len(got), len(want), got)
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("row %d is %q, want %q", i, got[i], want[i])
			}
		}
	}
	same(judge.ID, "Accuracy on held-out pairs heldout_accuracy | share of decided pairs of held-out prompts", "Held-out pairs heldout_n | pairs that it is taken over; a pair that two labelers decided counts twice | 930 |",
		"Ceiling of the accuracy ceiling | bound on the accuracy of any judge", "Loss on held-out pairs heldout_loss | mean of -log sigmoid(d) over the held-out pairs, nats | 0.481 |",
		"kl | mean over episodes of the sum", "odd_<one> | 3 |")
	same(base.ID, "Training steps step | optimizer steps that made the weights | 4,000 |", "Tokens learned from tokens |", "Loss on held-out texts heldout_loss | mean over the tokens of texts")
	ada.form("/look", "lang", "zh-Hant").want(t, http.StatusSeeOther)
	same(judge.ID, "保留配對的準確率 heldout_accuracy | 在保留提示詞已決定的配對中", "保留配對數 heldout_n |", "準確率的上限 ceiling |", "保留配對的損失 heldout_loss |", "kl | 各樣本的 log pi - log ref 總和的平均", "odd_<one> | 3 |")
	same(base.ID, "訓練步數 step |", "學習的詞元數 tokens |", "保留文字的損失 heldout_loss | 對未曾學習的文字")
}

// TestRefusedComparisonSpeaks: why the versions of a comparison did not fit into memory is said in the reader's language.
func TestRefusedComparisonSpeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	mina := w.user("mina", account.RoleLabeler)
	other := w.register(registry.Version{Kind: registry.Policy, Name: "other", Digest: "sha256:" + repeat("a")})
	c := w.comparedTo(other, mina, "Tell a story.", "one", "two")
	why := (&loop.NoRoomError{Need: 12_340_000_000, Free: 987_654_321}).Error()
	_, err := w.pool.Exec(t.Context(), `UPDATE model_comparisons SET stage = 'failed', error = $2 WHERE id = $1`, c.ID, why)
	w.must(err)
	for lang, want := range map[string]string{"en": "take 12.3 GB of memory while they answer, and 0.988 GB are free", "zh-Hant": "共需 12.3 GB 記憶體，而執行工作的地方只剩 0.988 GB"} {
		ada.form("/look", "lang", lang).want(t, http.StatusSeeOther)
		page := ada.get(comparePath+"/"+c.ID).want(t, http.StatusOK).body
		if !strings.Contains(page, want) || (lang != "en") == strings.Contains(page, "GB of memory") {
			t.Errorf("in %s the page lacks %q", lang, want)
		}
	}
}
