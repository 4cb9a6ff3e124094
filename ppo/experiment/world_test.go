package experiment

import (
	"context"
	"testing"
)

// TestWorlds: prompts are found again in sequences, demonstrations are judged well, and what is odd is judged worse.
func TestWorlds(t *testing.T) {
	for _, name := range []string{WorldToy, WorldStarter} {
		t.Run(name, func(t *testing.T) {
			l := shared()
			if name == WorldStarter {
				var err error
				if l, err = newLab(Options{World: WorldStarter}); err != nil {
					t.Fatal(err)
				}
			}
			w := l.world
			gold, reversed := 0.0, 0.0
			demos := w.demos(7, 50)
			for _, d := range demos {
				p := w.promptOf(d)
				if len(p.ids) != d.Start || p.text == "" {
					t.Fatalf("prompt %+v of %+v", p, d)
				}
				response := d.IDs[d.Start:]
				gold += w.gold(p, response)
				back := make([]int32, len(response))
				for i, id := range response {
					back[len(back)-1-i] = id
				}
				reversed += w.gold(p, back)
			}
			if n := float64(len(demos)); n < 45 || gold/n < reversed/n+1 {
				t.Errorf("gold of %g demonstrations %g, read backwards %g", n, gold/n, reversed/n)
			}
			for _, p := range w.prompts(9, 20) {
				if len(p.ids) == 0 || p.text == "" {
					t.Fatalf("%+v", p)
				}
			}
			sft, err := l.SFT(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			answers, err := l.sample(context.Background(), sft, w.prompts(9, 64), 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range answers {
				if p := w.promptOf(a.seq); p.text != a.prompt.text {
					t.Fatalf("%q is read back as %q", a.prompt.text, p.text)
				}
				if again := w.gold(w.promptOf(a.seq), a.response()); again != a.gold {
					t.Fatalf("gold %g and %g", a.gold, again)
				}
			}
			if s := l.describe(answers); s.ended < 0.9 || kl(sft, answers) > 1e-3 || kl(sft, answers) < -1e-3 {
				t.Errorf("%+v, KL to itself %g", s, kl(sft, answers))
			}
		})
	}
}
