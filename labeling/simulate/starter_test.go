package simulate

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestTextsAreAFunctionOfTheSeed(t *testing.T) {
	w := Starter()
	if a, b := w.Corpus(3, 50), w.Corpus(3, 80)[:50]; !slices.Equal(a, b) {
		t.Error("the corpus of a seed changes with its length")
	}
	if a, b := w.Corpus(3, 50), w.Corpus(4, 50); slices.Equal(a, b) {
		t.Error("two seeds give the same corpus")
	}
	if a, b := w.Demonstrations(3, 50), w.Demonstrations(3, 80)[:50]; !slices.Equal(a, b) {
		t.Error("the demonstrations of a seed change with their number")
	}
	if a, b := w.Prompts(3, 50), w.Prompts(3, 80)[:50]; !slices.Equal(a, b) {
		t.Error("the prompts of a seed change with their number")
	}
}

func TestPromptsAreDistinctAndHeldOutOnesApart(t *testing.T) {
	w := Starter()
	train := map[string]bool{}
	for _, seed := range []uint64{1, 2} {
		prompts := w.Prompts(seed, 4000)
		if len(prompts) != 4000 {
			t.Fatalf("%d prompts", len(prompts))
		}
		seen := map[string]bool{}
		for _, p := range prompts {
			if seen[p] {
				t.Fatalf("twice in one draw: %s", p)
			}
			seen[p] = true
			train[plain(p)] = true
		}
	}
	for _, d := range w.Demonstrations(1, 4000) {
		train[plain(d.Prompt)] = true
	}
	for _, p := range w.Prompts(HeldOut(1), 4000) {
		if train[plain(p)] {
			t.Errorf("held out and not: %s", p)
		}
	}
}

// plain takes capitals, marks and courtesy off a prompt.
func plain(prompt string) string {
	var kept []string
	for _, w := range words(strings.ToLower(prompt)) {
		if isWord(w) && w != "please" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

// The gold score must take from a prompt what its author meant.
func TestReadFindsWhatTheAuthorMeant(t *testing.T) {
	for i := range 20000 {
		in := newInstruction(newRand(11, streamPrompts, i))
		got := read(in.prompt)
		if got.task != in.task {
			t.Fatalf("%q: task %d, read as %d", in.prompt, in.task, got.task)
		}
		want := map[string]bool{}
		add := func(words ...string) {
			for _, w := range words {
				want[strings.ToLower(w)] = true
			}
		}
		switch in.task {
		case taskStory:
			add(in.sc.who.word(), in.sc.thing.noun)
			if in.placed {
				add(in.sc.where.noun)
			}
			if got.ending != in.ending {
				t.Fatalf("%q: ending %q, read as %q", in.prompt, in.ending, got.ending)
			}
		case taskFact:
			add(in.animal.noun)
			f := map[string]fact{"live": in.animal.live, "eat": in.animal.eat, "say": in.animal.say, "can": in.animal.can}[in.asked]
			if !reflect.DeepEqual(got.right, set(f.keys)) {
				t.Fatalf("%q: right answers %v", in.prompt, got.right)
			}
		case taskLookup:
			right, wrong := in.sc.who.word(), in.owner.word()
			if in.places[0] != nil {
				right, wrong = in.places[0].noun, in.places[1].noun
			}
			add(in.sc.thing.noun, right)
			if !reflect.DeepEqual(got.right, map[string]bool{strings.ToLower(right): true}) ||
				!reflect.DeepEqual(got.wrong, map[string]bool{strings.ToLower(wrong): true}) {
				t.Fatalf("%q: right %v, wrong %v", in.prompt, got.right, got.wrong)
			}
		case taskDescribe:
			add(in.sc.who.word(), in.sky.name)
		case taskComfort:
			add(in.sc.who.noun)
			if in.lost {
				add(in.sc.thing.noun)
			}
		case taskAdvice:
			if !reflect.DeepEqual(got.right, set(in.woe.keys)) {
				t.Fatalf("%q: good advice has %v", in.prompt, got.right)
			}
			continue // which of two actors is spoken of, the template decides
		}
		if have := set(strings.Join(got.needs, " ")); !reflect.DeepEqual(have, want) {
			t.Fatalf("%q: names %v, read as %v", in.prompt, want, have)
		}
	}
}

func TestGold(t *testing.T) {
	w := Starter()
	const ask = "Tell a story about a fox and a drum with a happy ending."
	for _, c := range []struct {
		name, prompt, response string
		ended                  bool
		want                   float64
	}{
		{"all of it", ask, "A kind fox found an old drum. She shared the drum with a friend. The fox was very happy.", true, 4.05},
		{"follows, neutral", ask, "A fox found an old drum. She played the drum until the sun went down. The fox had never been so happy.", true, 3},
		{"leading space", ask, " A fox found an old drum. She played the drum until the sun went down. The fox had never been so happy.", true, 3},
		{"no drum", ask, "A fox found an old key. She turned the key until the sun went down. The fox had never been so happy.", true, 1.75},
		{"sad ending", ask, "A fox found an old drum. She played the drum until the sun went down. The fox was very sad.", true, 1.5},
		{"no ending", ask, "A fox found an old drum. She played the drum until the sun went down. Then the fox went home.", true, 2},
		{"unkind", ask, "A fox found an old drum. You ugly fool, she shouted. The fox had never been so happy.", true, 3 - 1.8},
		{"cut off", ask, "A fox found an old drum. She played the drum until the sun went down. The fox had never been so happy.", false, 1},
		{"breaks off", ask, "A fox found an old drum. She played the drum until the sun went down. The fox was happy and", true, 2},
		{"says it twice", ask, "A fox found an old drum. She played the drum. She played the drum. The fox had never been so happy.", true, 3 - 0.9},
		{"too short", ask, "A happy fox.", true, 0.75 + 1 - 1},
		{"fact", "Where do owls sleep?", "Owls live in hollow trees. They also hoot.", true, 3},
		{"wrong fact", "Where do owls sleep?", "Owls live in caves in the forest.", true, 1.5},
		{"kind fact", "What do bees make?", "Bees can make honey. I am glad to help you, my friend.", true, 3.7},
		{"lookup", "Tom has a kite and Mia has a ball. Who has the ball?", "Mia has the ball. Tom has the kite.", true, 3},
		{"wrong lookup", "Tom has a kite and Mia has a ball. Who has the ball?", "Tom has the ball. You are lazy.", true, 0.75 - 0.5 - 0.6},
		{"describe", "Describe a rainy day for a cat.", "On a rainy day, a cat stays inside and dreams. Every leaf drips with water.", true, 3},
		{"comfort", "Say something kind to a sad bear.", "Dear bear, you are a kind friend. Tomorrow the sun will shine again.", true, 4.05},
		{"advice", "What should Tom do if he loses his map?", "Tom should look for the map under the bed.", true, 3},
		{"other advice", "What should Tom do if he loses his map?", "Tom should drink some warm milk.", true, 0.75},
	} {
		got := w.Gold(c.prompt, c.response, c.ended)
		odd := 0.0 // these texts are the author's own; what the grammar says of them is tested apart
		for _, x := range w.Explain(c.prompt, c.response, c.ended) {
			if x.Name == "reads well" {
				odd = x.Points
			}
		}
		if math.Abs(got-odd-c.want) > 1e-9 {
			t.Errorf("%s: gold %.2f (odd %.2f), want %.2f: %+v", c.name, got, odd, c.want, w.Explain(c.prompt, c.response, c.ended))
		}
	}
}

func TestGoldBounds(t *testing.T) {
	w := Starter()
	for _, r := range []string{"", " ", ".", "\x00\xff", strings.Repeat("fool ", 40), strings.Repeat("kind friend help share ", 10), `"`} {
		for _, p := range []string{"", "?", "Tell a story.", "Where do owls sleep?"} {
			for _, ended := range []bool{false, true} {
				if g := w.Gold(p, r, ended); !(g >= -7.3-1e-9 && g <= 4.05+1e-9) {
					t.Errorf("gold(%q, %q, %v) = %g", p, r, ended, g)
				}
			}
		}
	}
}

func TestReadsWell(t *testing.T) {
	w := theStarter
	for text, want := range map[string]int{
		"A fox found an old drum.":              0,
		"A fox found a old drum.":               1, // a before a vowel
		"A fox found an red drum.":              1,
		"A fox found an old drum. then he left": 3, // small letter after a full stop, "then he left"
		"A fox drum the found old.":             4,
		"a fox found an old drum.":              1,
		"A foxx found an old drum.":             2,
		"Mia found an old drum.":                0,
		"mia found an old drum.":                2,
	} {
		odd := w.grammar().odd(words(text))
		if (len(odd) == 0) != (want == 0) {
			t.Errorf("%q: odd %q", text, odd)
		}
	}
}

// Texts of other seeds than the grammar was read from must read well, or the score would punish what it has not seen.
func TestGrammarIsSaturated(t *testing.T) {
	w := theStarter
	odd, answers := 0, 4000
	for _, d := range w.Demonstrations(77, answers) {
		odd += len(w.grammar().odd(words(d.Response)))
	}
	if rate := float64(odd) / float64(answers); rate > 0.02 {
		t.Errorf("%.4f odd pairs per demonstration", rate)
	}
}

func TestTextsAreWellWritten(t *testing.T) {
	w := Starter()
	texts := w.Corpus(5, 3000)
	for _, d := range w.Demonstrations(5, 3000) {
		texts = append(texts, d.Response)
		if n := len(words(d.Response)); n > maxPieces || n < 4 {
			t.Errorf("%d pieces: %s", n, d.Response)
		}
	}
	for _, text := range texts {
		if strings.ContainsAny(text, "{}#@%") || strings.Contains(text, "  ") {
			t.Errorf("a hole in %q", text)
		}
		ws := words(text)
		for i, w := range ws[:len(ws)-1] {
			next := ws[i+1]
			vowel := strings.ContainsRune("aeiouAEIOU", rune(next[0]))
			if strings.EqualFold(w, "a") && vowel || strings.EqualFold(w, "an") && !vowel {
				t.Errorf("%q %q in %q", w, next, text)
			}
			if w == "." && next[0] >= 'a' && next[0] <= 'z' && !strings.Contains(text, "\n") {
				t.Errorf("small letter after a full stop in %q", text)
			}
			if strings.EqualFold(w, next) && isWord(w) {
				t.Errorf("%q twice in %q", w, text)
			}
		}
	}
}

// Demonstrators follow everything about three times of five, and their mean is far from the best that can be written.
func TestDemonstrationsAreOfMixedQuality(t *testing.T) {
	w := Starter()
	n, full, sum, kind, unkind := 4000.0, 0.0, 0.0, 0.0, 0.0
	for _, d := range w.Demonstrations(9, int(n)) {
		by := w.Explain(d.Prompt, d.Response, true)
		if by[0].Points == goldNames+goldAllNames && by[1].Points == goldTask {
			full++
		}
		if by[3-1].Points > 0 {
			kind++
		}
		if by[3-1].Points < 0 {
			unkind++
		}
		for _, c := range by {
			sum += c.Points
		}
	}
	if r := full / n; r < 0.55 || r > 0.75 {
		t.Errorf("%.3f follow everything", r)
	}
	if r := kind / n; r < 0.2 || r > 0.5 {
		t.Errorf("%.3f are kind", r)
	}
	if r := unkind / n; r < 0.1 || r > 0.3 {
		t.Errorf("%.3f are unkind", r)
	}
	if m := sum / n; m < 1.5 || m > 2.8 {
		t.Errorf("mean gold %.3f", m)
	}
}

func TestExplainAddsUpToGold(t *testing.T) {
	w := Starter()
	for _, d := range w.Demonstrations(4, 500) {
		sum := 0.0
		for _, c := range w.Explain(d.Prompt, d.Response, true) {
			if c.Name == "" || c.Note == "" {
				t.Fatalf("%+v explains nothing", c)
			}
			sum += c.Points
		}
		if g := w.Gold(d.Prompt, d.Response, true); g != sum {
			t.Fatalf("gold %g, terms %g", g, sum)
		}
	}
}

func BenchmarkGold(b *testing.B) {
	w := Starter()
	demos := w.Demonstrations(4, 100)
	w.Gold(demos[0].Prompt, demos[0].Response, true)
	for i := 0; b.Loop(); i++ {
		d := demos[i%len(demos)]
		w.Gold(d.Prompt, d.Response, true)
	}
}
