package eval

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// story is a text with names, nouns and verbs that return, from a few templates.
func story(sentences int) *Text {
	rng := rand.New(rand.NewPCG(7, 7))
	pick := func(s string) string {
		w := strings.Fields(s)
		return w[rng.IntN(len(w))]
	}
	const names, nouns, verbs = "Anna Bert Clara David Emma Felix Greta Hanna Igor Julia Karl Lena", "apple boat candle drum engine flower garden hammer island jacket kettle ladder", "carry find hide keep lift move open paint repair shake throw watch"
	var b strings.Builder
	for i := range sentences {
		a, x, v, n := pick(names), pick(names), pick(verbs), pick(nouns)
		switch i % 4 {
		case 0:
			fmt.Fprintf(&b, "One day in May the old man %s and his friend %s wanted to %s the %s. ", a, x, v, n)
		case 1:
			fmt.Fprintf(&b, "Then they %s it with the %s of Mrs. %s. ", v, n, x)
		case 2:
			fmt.Fprintf(&b, "\"I can %s a %s!\" said little %s. ", v, n, a)
		default:
			fmt.Fprintf(&b, "So he went to %s near the %s and gave her the %s.", x, n, n)
		}
		if i%12 == 11 {
			b.WriteString("\n\n")
		} else if i%4 == 3 {
			b.WriteString("\n")
		}
	}
	return NewText(b.String())
}

func TestSetsOfAllTasks(t *testing.T) {
	text := story(1200)
	names := map[string]bool{}
	for _, task := range Tasks() {
		t.Run(task.Name, func(t *testing.T) {
			if names[task.Name] || task.Title == "" || task.Paper == "" || !slices.Contains(rules, task.Rule) {
				t.Fatalf("%+v", task)
			}
			names[task.Name] = true
			ask, pool := task.sets(3, 30, text)
			again, samePool := task.sets(3, 30, text)
			more, _ := task.sets(3, 40, text)
			other, _ := task.sets(4, 30, text)
			if len(ask) < 20 || len(pool) < 5 || len(pool) > MaxShots {
				t.Fatalf("%d items, %d examples", len(ask), len(pool))
			}
			if fmt.Sprint(ask, pool) != fmt.Sprint(again, samePool) {
				t.Error("the same seed gives other items")
			}
			if fmt.Sprint(more[:len(ask)]) != fmt.Sprint(ask) {
				t.Error("a larger n begins otherwise")
			}
			if fmt.Sprint(other) == fmt.Sprint(ask) {
				t.Error("another seed gives the same items")
			}
			seen := map[string]bool{}
			for _, it := range slices.Concat(ask, pool) {
				if seen[it.Prompt] {
					t.Errorf("%q comes twice", it.Prompt)
				}
				seen[it.Prompt] = true
				if !strings.HasPrefix(it.Answer, " ") || strings.HasSuffix(it.Prompt, " ") {
					t.Errorf("%q + %q: one space is wanted between", it.Prompt, it.Answer)
				}
				if task.Rule.chooses() && (it.Choices[it.Right] != it.Answer || len(slices.Compact(slices.Sorted(slices.Values(it.Choices)))) != len(it.Choices)) {
					t.Errorf("choices %q, right %d, answer %q", it.Choices, it.Right, it.Answer)
				}
				if !task.Rule.chooses() && task.Rule.read(it.Answer) == "" {
					t.Errorf("the rule reads nothing from %q", it.Answer)
				}
			}
		})
	}
}

// The passages of items that share a text do not overlap: an example cannot hold a question's answer.
func TestPassagesAreDisjoint(t *testing.T) {
	text := story(1200)
	for _, name := range []string{"cloze", "cbt-names", "continuation"} {
		task, _ := Find(name)
		ask, pool := task.sets(1, 50, text)
		type reach struct{ lo, hi int }
		var all []reach
		for _, it := range slices.Concat(ask, pool) {
			lo := strings.Index(text.clean, it.Prompt)
			if lo < 0 || strings.Count(text.clean, it.Prompt) > 1 {
				t.Fatalf("%s: %q is not one place of the text", name, it.Prompt)
			}
			if !strings.HasPrefix(strings.TrimLeft(text.clean[lo+len(it.Prompt):], "\n "), strings.TrimSpace(it.Answer)) {
				t.Errorf("%s: the text does not go on with %q", name, it.Answer)
			}
			all = append(all, reach{lo, lo + len(it.Prompt) + len(it.Answer)})
		}
		slices.SortFunc(all, func(a, b reach) int { return a.lo - b.lo })
		for i := range all[1:] {
			if all[i+1].lo < all[i].hi {
				t.Errorf("%s: passages overlap", name)
			}
		}
	}
}

func TestArithmeticIsRight(t *testing.T) {
	for _, task := range arithmetic {
		ask, _ := task.sets(11, 150, nil)
		for _, it := range ask {
			q := strings.TrimSuffix(strings.TrimPrefix(it.Prompt, "Q: What is "), "?\nA:")
			if got := calculate(t, q); it.Answer != " "+strconv.Itoa(got) {
				t.Errorf("%s: %q, answer %q, want %d", task.Name, it.Prompt, it.Answer, got)
			}
			if kind, digits, _ := strings.Cut(task.Name, "-"); kind != "composite" {
				for _, n := range strings.Fields(q) {
					if _, err := strconv.Atoi(n); err == nil && strconv.Itoa(len(n)) > digits {
						t.Errorf("%s: %s has too many digits", task.Name, n)
					}
				}
			}
		}
	}
}

// calculate reads "12 plus 3" and "1+(2*3)".
func calculate(t *testing.T, q string) int {
	t.Helper()
	var a, b, c int
	var word string
	var x, y rune
	if n, _ := fmt.Sscanf(q, "%d %s %d", &a, &word, &b); n == 3 {
		return map[string]int{"plus": a + b, "minus": a - b, "times": a * b}[word]
	}
	if n, _ := fmt.Sscanf(q, "%d%c(%d%c%d)", &a, &x, &b, &y, &c); n != 5 {
		t.Fatalf("cannot read %q", q)
	}
	do := func(op rune, a, b int) int { return map[rune]int{'+': a + b, '-': a - b, '*': a * b}[op] }
	return do(x, a, do(y, b, c))
}

func TestOneDigitIsDrawnOut(t *testing.T) {
	task, _ := Find("addition-1")
	ask, pool := task.sets(0, 1000, nil)
	if len(ask)+len(pool) != 100 || len(pool) != 25 {
		t.Errorf("%d questions and %d examples, of 100 sums", len(ask), len(pool))
	}
}

func TestScramblesAreWhatTheySay(t *testing.T) {
	letters := func(s string) string {
		r := []rune(s)
		slices.Sort(r)
		return string(r)
	}
	is := map[string]func(s, w string) bool{
		"cycle-letters": func(s, w string) bool { return s != w && strings.Contains(w+w, s) },
		"anagrams-1": func(s, w string) bool {
			return s != w && letters(s) == letters(w) && s[0] == w[0] && s[len(s)-1] == w[len(w)-1]
		},
		"anagrams-2": func(s, w string) bool {
			return s != w && letters(s) == letters(w) && s[:2] == w[:2] && s[len(s)-2:] == w[len(w)-2:]
		},
		"random-insertion": func(s, w string) bool {
			return len(s) == 2*len(w)-1 && strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' {
					return r
				}
				return -1
			}, s) == w
		},
		"reversed-words": func(s, w string) bool {
			r := []byte(s)
			slices.Reverse(r)
			return string(r) == w
		},
	}
	for _, task := range scrambles {
		ask, pool := task.sets(5, 200, nil)
		if len(ask) != 200 || len(pool) != MaxShots {
			t.Errorf("%s: %d questions, %d examples", task.Name, len(ask), len(pool))
		}
		words := map[string]bool{}
		for _, it := range slices.Concat(ask, pool) {
			s, w := strings.TrimSuffix(it.Prompt, " ="), strings.TrimPrefix(it.Answer, " ")
			if n := utf8.RuneCountInString(w); n < 5 || n > 14 || words[w] {
				t.Errorf("%s: %q", task.Name, w)
			}
			words[w] = true
			if !is[task.Name](s, w) {
				t.Errorf("%s: %q is not made of %q so", task.Name, s, w)
			}
		}
	}
}

// Four items of each task, pinned: changed items would make old reports incomparable.
func TestItemsAreGolden(t *testing.T) {
	text := story(400)
	var b strings.Builder
	for _, task := range Tasks() {
		ask, pool := task.sets(1, 2, text)
		for i, it := range append(ask, task.examples(1, 0, pool, 2)...) {
			fmt.Fprintf(&b, "%s %d %q %q %q\n", task.Name, i, it.Prompt, it.Answer, it.Choices)
		}
	}
	const file = "testdata/items.golden"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("items changed; with UPDATE_GOLDEN=1 the file is written anew:\n%s", b.String())
	}
}

// More examples stand in front of the same ones, and each question has its own.
func TestExamplesNest(t *testing.T) {
	task, _ := Find("addition-3")
	_, pool := task.sets(2, 10, nil)
	one, four := task.examples(2, 5, pool, 1), task.examples(2, 5, pool, 4)
	if fmt.Sprint(four[:1]) != fmt.Sprint(one) {
		t.Error("four examples do not begin with the one")
	}
	if fmt.Sprint(task.examples(2, 6, pool, 4)) == fmt.Sprint(four) {
		t.Error("another question has the same examples")
	}
	q := Item{Prompt: "Q: What is 1 plus 1?\nA:"}
	short, long := task.text(one, q), task.text(four, q)
	if !strings.HasSuffix(long, short) {
		t.Errorf("%q does not end with %q", long, short)
	}
	if n := len(task.examples(2, 0, pool[:3], 100)); n != 3 {
		t.Errorf("%d examples of a pool of 3", n)
	}
}

func TestPromptFormats(t *testing.T) {
	sum := Item{Prompt: "Q: What is 48 plus 76?\nA:", Answer: " 124"}
	task, _ := Find("addition-2")
	if got, want := task.text([]Item{sum}, Item{Prompt: "Q: What is 1 plus 2?\nA:"}), "Q: What is 48 plus 76?\nA: 124\n\nQ: What is 1 plus 2?\nA:"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	task, _ = Find("cycle-letters")
	if got, want := task.text([]Item{{Prompt: "lyinevitab =", Answer: " inevitably"}}, Item{Prompt: "pplea ="}),
		"Please unscramble the letters into a word, and write that word:\nlyinevitab = inevitably\npplea ="; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTextSentences(t *testing.T) {
	text := NewText("Mr. Fox ran\naway.  \"Stop!\" cried he. Why? Nobody\nknows...\n\nA new day; don't ask.")
	var got []string
	for _, s := range text.sentences {
		got = append(got, text.clean[s.lo:s.hi])
	}
	want := []string{"Mr. Fox ran away.", "\"Stop!\" cried he.", "Why?", "Nobody knows...", "A new day; don't ask."}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	last := text.sentences[4]
	if w := text.at(last.words[3]); w != "don't" {
		t.Errorf("word %q", w)
	}
}

func TestWordClasses(t *testing.T) {
	text := story(600)
	for w, want := range map[string]class{"Anna": name, "Greta": name, "candle": noun, "kettle": noun, "repair": verb, "watch": verb, "near": preposition, "with": preposition, "little": otherClass, "the": otherClass, "Then": otherClass} {
		if got := text.classOf(w); got != want {
			t.Errorf("%s: class %d, want %d", w, got, want)
		}
	}
}

// A text's own words are scrambled where it has enough.
func TestWordsOfTheText(t *testing.T) {
	var b strings.Builder
	for i := range enoughWords {
		fmt.Fprintf(&b, "wordy%c%c ", 'a'+i/26, 'a'+i%26)
	}
	task, _ := Find("reversed-words")
	for _, c := range []struct {
		text *Text
		own  bool
	}{{NewText(b.String()), true}, {NewText(b.String()[:800]), false}, {nil, false}} {
		ask, _ := task.sets(0, 5, c.text)
		if got := strings.HasPrefix(ask[0].Answer, " wordy"); got != c.own {
			t.Errorf("%q: from the text %v, want %v", ask[0].Answer, got, c.own)
		}
	}
}
