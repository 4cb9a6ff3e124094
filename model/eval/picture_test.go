package eval

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// checkPicture asks for what a strict page takes: well-formed, no script, no style attribute, nothing from elsewhere.
func checkPicture(t *testing.T, name, s string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	d.Strict = strings.HasPrefix(s, "<svg")
	d.AutoClose, d.Entity = xml.HTMLAutoClose, xml.HTMLEntity
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		el, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if el.Name.Local == "script" || el.Name.Local == "img" || el.Name.Local == "link" {
			t.Errorf("%s has <%s>", name, el.Name.Local)
		}
		for _, a := range el.Attr {
			if a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "src" || a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#") {
				t.Errorf("%s: <%s %s=%q>", name, el.Name.Local, a.Name.Local, a.Value)
			}
			if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
				t.Errorf("%s: <%s %s=%q>", name, el.Name.Local, a.Name.Local, a.Value)
			}
		}
	}
}

// Series stand out by at least 3 to 1 against a light and a dark page (WCAG 2.1, 1.4.11).
func TestPaletteIsReadable(t *testing.T) {
	luminance := func(hex string) float64 {
		sum := 0.0
		for i, share := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			c := float64(n) / 255
			if c <= 0.03928 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			sum += share * c
		}
		return sum
	}
	for _, c := range palette {
		for _, ground := range []string{"#ffffff", "#15191f", "#191f28"} {
			a, b := luminance(c), luminance(ground)
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 3 {
				t.Errorf("%s on %s: contrast %.2f", c, ground, ratio)
			}
		}
	}
}

// Panels hold every interval, whatever its size.
func TestPanelScale(t *testing.T) {
	for _, c := range []struct{ high, chance, want float64 }{{0.02, 0, 0.1}, {0.1, 0, 0.1}, {0.11, 0, 0.25}, {0.3, 0, 0.5}, {0.3, 0.5, 0.5}, {0.51, 0, 1}, {1, 0.1, 1}} {
		if got := (Row{Chance: c.chance, Cells: []Cell{{Accuracy: Estimate{High: c.high}}}}).ceiling(); got != c.want {
			t.Errorf("up to %g with chance %g: %g, want %g", c.high, c.chance, got, c.want)
		}
	}
}

func attention(t *testing.T, cfg model.Config, text string) *Attention {
	t.Helper()
	tok := bytesOnly(t)
	cfg.Vocab, cfg.Context, cfg.BOS, cfg.EOS = tok.Vocab(), 48, int(tok.BOS()), int(tok.EOS())
	m, err := model.New(cfg, 2)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Attend(m, tok, text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Rows sum to 1 and the future is exactly 0, in every family; what is beyond a band is 0 too.
func TestAttentionRows(t *testing.T) {
	for name, cfg := range map[string]model.Config{
		"gpt2":    {Family: "gpt2", Layers: 2, Width: 24, Heads: 3},
		"grouped": {Family: "llama", Layers: 2, Width: 24, Heads: 6, KVHeads: 2},
		"banded":  {Family: "gpt3", Layers: 2, Width: 24, Heads: 3, Window: 4},
	} {
		a := attention(t, cfg, "You are a good man")
		if len(a.Weights) != 2 || len(a.Weights[0]) != cfg.Heads || len(a.Weights[0][0]) != len(a.Tokens) {
			t.Fatalf("%s: %d layers of %d heads", name, len(a.Weights), len(a.Weights[0]))
		}
		banded := false // in one layer at least
		for l, heads := range a.Weights {
			outside := 0.0
			for h, rows := range heads {
				for i, row := range rows {
					sum := 0.0
					for j, w := range row {
						sum += float64(w)
						if j > i && w != 0 {
							t.Fatalf("%s: layer %d head %d: token %d sees %d", name, l, h, i, j)
						}
						if cfg.Window > 0 && j <= i-cfg.Window {
							outside += float64(w)
						}
					}
					if math.Abs(sum-1) > 1e-5 {
						t.Fatalf("%s: layer %d head %d: row %d sums to %g", name, l, h, i, sum)
					}
				}
			}
			banded = banded || outside == 0
		}
		if cfg.Window > 0 && !banded {
			t.Errorf("%s: no layer keeps to its band", name)
		}
	}
}

func TestAttentionText(t *testing.T) {
	a := &Attention{Tokens: []string{"<bos>", " Hello", "\n", "漢字", "é"}, Weights: [][][][]float32{{{
		{1, 0, 0, 0, 0}, {0.25, 0.75, 0, 0, 0}, {0.05, 0.9, 0.05, 0, 0}, {0.3, 0.1, 0.2, 0.4, 0}, {0.2, 0.2, 0.2, 0.2, 0.2},
	}}}}
	var b strings.Builder
	if err := a.WriteText(&b, 0, 0, Digits, 0); err != nil {
		t.Fatal(err)
	}
	want := `layer 0, head 0
      < H       
      b e       
      o l       
      s l   ·   
      > o ↵ · é 
<bos> 9 
Hello 2 7 
    ↵ 0 9 0 
 漢字 3 1 2 4 
    é 2 2 2 2 2 
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	b.Reset()
	if err := a.WriteText(&b, 0, 0, Blocks, 9); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "Hello ░▓\n") || !strings.Contains(b.String(), "the first 3 of 5 tokens") || strings.Contains(b.String(), "漢") {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := a.WriteText(&b, 0, 0, Color, 80); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "<bos> \x1b[48;2;253;231;37m  \x1b[0m\n") {
		t.Errorf("got\n%q", b.String())
	}
}

func TestLabel(t *testing.T) {
	for in, want := range map[string]string{" good": "good", " ": "␣", "  x": "␣x", "\n\n": "↵↵", "\xe2\x82": "\\xe2\\x82", "\t": "\\u0009", "\x1b[2J": "\\u001b[2J", "": ""} {
		if got := label(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestAttentionPictures(t *testing.T) {
	a := attention(t, model.Config{Family: "gpt2", Layers: 2, Width: 24, Heads: 3}, "You <&> \"a\"\n man")
	svg := a.SVG(1, 2)
	checkPicture(t, "svg", svg)
	for _, want := range []string{"layer 1, head 2", "&lt;", "&amp;", "looks at"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the picture has no %q", want)
		}
	}
	var heads [][2]int
	for l := range 2 {
		for h := range 3 {
			heads = append(heads, [2]int{l, h})
		}
	}
	page := a.HTML("A <title>", heads)
	checkPicture(t, "page", page)
	for _, h := range heads {
		id := fmt.Sprintf("l%dh%d", h[0], h[1])
		if strings.Count(page, `id="`+id+`"`) != 1 || strings.Count(page, `href="#`+id+`"`) != 1 {
			t.Errorf("head %v is not on the page once, large and small", h)
		}
	}
	if strings.Contains(page, "A <title>") {
		t.Error("the title is not escaped")
	}
}

func TestAttendRefuses(t *testing.T) {
	tok := bytesOnly(t)
	s := subject(t, tok, "m", 16)
	for _, text := range []string{"", strings.Repeat("x", 16)} {
		if _, err := Attend(s.Model, tok, text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

// Charts are pictures as strict pages take them, and every mark and tick lies within.
func TestCharts(t *testing.T) {
	c := Chart{Title: "a < b", X: "tokens", Y: "time", YUnit: "s", LineName: "estimated", Note: "slope 1",
		Measured: []Point{{1, 1e-9, "first"}, {1000, 2e-3, "<second>"}}, Line: []Point{{1, 1e-9, ""}, {1000, 4e-3, ""}}}
	for _, charts := range [][]Chart{{c}, {c, {Measured: []Point{{5, 7, "alone"}}}}} {
		checkPicture(t, "chart.svg", ChartsSVG("label", charts...))
		checkPicture(t, "chart.html", ChartsHTML("title", charts...))
	}
	if s := ChartsSVG("", c); !strings.Contains(s, "&lt;second&gt;: 2 ms") || strings.Count(s, "<circle") != 3 {
		t.Errorf("%s", s)
	}
	a := newAxis([]float64{256, 4096}, 50, 320)
	for _, v := range append(a.ticks(), 256, 4096) {
		if at := a.at(v); at <= 50 || at >= 320 {
			t.Errorf("%g stands at %g", v, at)
		}
	}
	if got := fmt.Sprint(a.ticks()); got != "[500 1000 2000 5000]" {
		t.Errorf("ticks %s", got)
	}
	for _, x := range []struct {
		v    float64
		unit string
		want string
	}{{0.02, "s", "20 ms"}, {1, "s", "1 s"}, {1e6, "", "1 M"}, {500, "", "500"}, {2e-7, "s", "200 ns"}, {1000, "", "1 k"}} {
		if got := short(x.v, x.unit); got != x.want {
			t.Errorf("%g is %q, want %q", x.v, got, x.want)
		}
	}
}
