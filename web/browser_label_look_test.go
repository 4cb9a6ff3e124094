package web

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// chineseAnswers and markdownAnswers are what the ranking page must show well besides plain English.
var (
	chineseAnswers = []string{
		"狐狸在橡樹下找到一面舊鼓。牠輕輕敲了一下，整座森林都跑來跳舞。月亮升起時，狐狸把鼓分給害羞的刺蝟，從那一夜起，牠們一起演奏，再也不孤單了。",
		"狐狸在橡樹下發現一面舊鼓。牠敲了一下，整座森林都來跳舞。月亮出來以後，狐狸把鼓借給刺蝟，從此牠們一起演奏，再也不孤單了。",
		"從前有一隻狐狸。狐狸有一面鼓。狐狸有一面鼓。狐狸有一面鼓。",
		"狐狸敲鼓敲得太大聲，鳥兒都飛走了。牠覺得很抱歉，於是學會輕輕地敲。鳥兒一隻一隻飛回來，跟著唱歌，大家都很快樂。",
		"鼓掉進河裡，狐狸冒著雨回家了。", "狐狸說：「我不喜歡鼓。」（完）",
		"這是一個關於狐狸與鼓的故事，不過我只是一個語言模型，沒有辦法真的聽見鼓聲。",
	}
	markdownAnswers = []string{
		"## The loop\n\nUse a **counter** and stop at `n`:\n\n```go\n// sum adds 1..n\nfunc sum(n int) int {\n\ttotal := 0\n\tfor i := 1; i <= n; i++ {\n\t\ttotal += i\n\t}\n\treturn total // O(n)\n}\n```\n\n1. Start at one.\n2. Add each number.\n   - also the last\n3. Return the total.\n\n> There is a closed form: n(n+1)/2.",
		"Use the *closed form*:\n\n```python\ndef sum_to(n):\n    return n * (n + 1) // 2  # exact\n```\n\n| n | sum |\n|---|---|\n| 3 | 6 |\n| 10 | 55 |\n\nSee [the proof](https://example.org/gauss).",
		"Add the numbers one after the other until you reach n.",
		strings.Repeat("A long answer that says the same thing in many words, and then once more, so that nobody can say it was short. ", 18),
	}
)

// longAnswers are nine answers of 20 kB each, one of them a single word.
func longAnswers() []string {
	var out []string
	for i := range 9 {
		var b strings.Builder
		for n := 0; b.Len() < 20_000; n++ {
			if i == 4 {
				b.WriteString("unbroken")
			} else {
				fmt.Fprintf(&b, "Sentence %d of version %d tells what the fox did with the drum on that day. ", n, n%(i+2))
			}
			if n%7 == 6 && i != 4 {
				b.WriteString("\n\n")
			}
		}
		out = append(out, b.String())
	}
	return out
}

// tasksFor gives each of n labelers the same four tasks: 2 short answers, 4 with markdown, 7 in Chinese, 9 of 20 kB.
func (w *world) tasksFor(n int) {
	w.Helper()
	for _, c := range []struct {
		prompt  string
		answers []string
	}{
		{"Is a fox a bird?", []string{"No. A fox is a mammal.", "Yes."}}, {"How do I add the numbers from 1 to n?", markdownAnswers},
		{"請說一個狐狸與鼓的故事，結局要快樂。", chineseAnswers}, {"Tell a very long story about a fox and a drum.", longAnswers()},
	} {
		w.must(pgx.BeginFunc(w.Context(), w.pool, func(tx pgx.Tx) error {
			p, _, err := w.labeling.AddPrompt(w.Context(), tx, labeling.NewPrompt{ProjectID: w.project.ID, Messages: says(c.prompt), Origin: labeling.OriginImport})
			if err != nil {
				return err
			}
			var list []labeling.NewResponse
			for _, a := range c.answers {
				list = append(list, labeling.NewResponse{Text: a, ModelVersion: w.version.ID, Finish: "stop"})
			}
			_, err = w.labeling.AddTask(w.Context(), tx, p.ID, list, n, "")
			return err
		}))
	}
}

// TestLabelLook walks the four tasks at all widths, light and dark: nothing is wider than the window, every target is big
// enough, names stay in sight, and nine answers of 20 kB are there at once.
func TestLabelLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type size struct {
		name          string
		width, height int64
		dark          bool
	}
	sizes := []size{{"desk-dark", 1280, 900, true}, {"4k", 3840, 2160, false}, {"phone", 360, 740, false}}
	if !everything() {
		sizes = []size{sizes[0], sizes[2]}
	}
	w.tasksFor(len(sizes))
	for i, size := range sizes {
		t.Run(size.name, func(t *testing.T) {
			t.Parallel()
			v := *w
			v.T = t
			name := fmt.Sprintf("l%d", i)
			w.user(name, account.RoleLabeler)
			b := v.open(size.width, size.height, size.dark)
			b.signIn(name + "@example.com")
			seen := map[int]bool{} // the order is not fixed: what one labeler skips goes to the end of the queue
			for range 4 {
				b.until(taskOpen)
				k := eval[int](b, `document.querySelectorAll(".card").length`)
				seen[k] = true
				b.look(fmt.Sprintf("%d-plain", k))
				if k == 9 {
					b.keys("j")
					b.do(scrollBy(600))
				} else {
					b.keys("21r5f")
				}
				b.keys("m")
				b.look(fmt.Sprintf("%d-formatted", k))
				if size.width > 1000 {
					b.keys("\x1bvd")
					b.look(fmt.Sprintf("%d-columns-diff", k))
					b.keys("y")
					b.look(fmt.Sprintf("%d-together", k))
					b.keys("yv")
					for eval[bool](b, `document.getElementById("cards").dataset.columns !== "1"`) {
						b.keys("v")
					}
				} else {
					b.keys("\x1bd")
					b.look(fmt.Sprintf("%d-diff", k))
				}
				b.keys("m")
				b.do(click("#skip"))
				b.do(click(`#skip-dialog [value="skip"]`))
				b.until(fmt.Sprintf(`document.querySelectorAll(".card").length !== %d || !document.getElementById("empty").hidden`, k))
			}
			if !seen[2] || !seen[4] || !seen[7] || !seen[9] {
				t.Errorf("tasks of %v answers, want 2, 4, 7 and 9", seen)
			}
			b.until(`!document.getElementById("empty").hidden`)
		})
	}
}

// look checks the page as it stands, and keeps a picture.
func (b *tab) look(name string) {
	b.Helper()
	b.drawn()
	b.fitsWidth()
	b.named()
	b.targets()
	b.shot(name)
}

// targets wants everything that can be pressed to be at least 24 by 24 px (WCAG 2.5.8).
func (b *tab) targets() {
	b.Helper()
	small := eval[[]string](b, `[...document.querySelectorAll("main button, main select, .dock button, .handle, summary, .likert label, .flags label, .nav a")].filter((e) => e.checkVisibility()).map((e) => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.width < 24 || r.height < 24).map(([e, r]) => e.outerHTML.slice(0, 80) + " " + r.width + "x" + r.height)`)
	if len(small) > 0 {
		b.Errorf("too small: %s", strings.Join(small, "\n"))
	}
}

func click(css string) chromedp.Action[chromedp.Void] { return chromedp.Click(chromedp.CSS(css)) }

func scrollBy(y int) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`scrollBy(0, %d)`, y))
}
