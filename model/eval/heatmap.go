package eval

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// Attention is how each token of a text looks at those before it and at itself.
type Attention struct {
	IDs     []int32
	Tokens  []string        // text of each token
	Weights [][][][]float32 // [L][H][T][T]; row i sums to 1 and is 0 beyond i
}

// Attend reads the weights of a model for a text. It fails with *InvalidError where the text has no tokens or too many.
func Attend(m *model.Transformer, tok token.Tokenizer, text string) (*Attention, error) {
	a := asker{Subject{Model: m, Tokenizer: tok}, m.Config().Context}
	ids := a.ids(text)
	if len(ids) == 0 || text == "" {
		return nil, invalid("text", "empty: there is nothing to look at")
	}
	if len(ids) > a.context {
		return nil, invalid("text", "%d tokens do not fit the model's context of %d", len(ids), a.context)
	}
	out := &Attention{IDs: ids, Weights: m.Attention(ids)}
	for _, id := range ids {
		out.Tokens = append(out.Tokens, tokenName(tok, id))
	}
	return out, nil
}

// tokenName is the text of a token; special ones have a name.
func tokenName(tok token.Tokenizer, id int32) string {
	switch b := tok.Bytes(id); {
	case b != nil:
		return string(b)
	case id == tok.BOS():
		return "<bos>"
	case id == tok.EOS():
		return "<eos>"
	}
	return fmt.Sprintf("<%d>", id)
}

// label shows a token in one line: without the space in front, and what cannot be printed by name.
func label(tokenText string) string {
	if len(tokenText) > 1 && tokenText[0] == ' ' {
		tokenText = tokenText[1:]
	}
	var b strings.Builder
	for len(tokenText) > 0 {
		r, n := utf8.DecodeRuneInString(tokenText)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "\\x%02x", tokenText[0])
		case r == '\n':
			b.WriteString("↵")
		case r == ' ':
			b.WriteString("␣")
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
		tokenText = tokenText[n:]
	}
	return b.String()
}

// Style is how a heat map is drawn with characters.
type Style string

const (
	Color  Style = "color"  // cells of 24-bit colour
	Blocks Style = "blocks" // shades of grey: ░▒▓█
	Digits Style = "digits" // tenths, rounded down: 0 is less than 0.1, 9 is 0.9 or more
)

const (
	labelWidth  = 12 // of a row's label, in columns
	labelHeight = 8  // of a column's label, which runs downwards
)

// WriteText draws one head with characters, at most width columns wide (0 = any width): a row per token that looks, a column
// per token looked at; the future is blank. Where not all columns fit, the first are drawn and a line says so.
func (a *Attention) WriteText(w io.Writer, layer, head int, style Style, width int) error {
	T := len(a.Tokens)
	rows := make([]string, T)
	left := 0
	for i, t := range a.Tokens {
		rows[i] = runewidth.Truncate(label(t), labelWidth, "…")
		left = max(left, runewidth.StringWidth(rows[i]))
	}
	cell, shown := 2, T
	if width > 0 {
		if room := max(1, width-left-1); 2*T > room {
			cell, shown = 1, min(T, room)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "layer %d, head %d\n", layer, head)
	for _, line := range downwards(a.Tokens[:shown]) {
		b.WriteString(strings.Repeat(" ", left+1))
		for _, r := range line {
			b.WriteString(runewidth.FillRight(string(r), cell))
		}
		b.WriteString("\n")
	}
	for i, row := range a.Weights[layer][head][:shown] {
		b.WriteString(runewidth.FillLeft(rows[i], left) + " ")
		for _, x := range row[:i+1] {
			b.WriteString(style.cell(float64(x), cell))
		}
		if style == Color {
			b.WriteString("\x1b[0m")
		}
		b.WriteString("\n")
	}
	if shown < T {
		fmt.Fprintf(&b, "the first %d of %d tokens; a file has room for all\n", shown, T)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// downwards gives the lines of the columns' labels, which end at the map.
func downwards(tokens []string) [][]rune {
	labels := make([][]rune, len(tokens))
	high := 0
	for i, t := range tokens {
		for _, r := range label(t) {
			if runewidth.RuneWidth(r) == 1 {
				labels[i] = append(labels[i], r)
			} else { // too wide for a narrow column
				labels[i] = append(labels[i], '·')
			}
		}
		if len(labels[i]) > labelHeight {
			labels[i] = append(labels[i][:labelHeight-1], '…')
		}
		high = max(high, len(labels[i]))
	}
	lines := make([][]rune, high)
	for y := range lines {
		for _, l := range labels {
			r := ' '
			if at := y - (high - len(l)); at >= 0 {
				r = l[at]
			}
			lines[y] = append(lines[y], r)
		}
	}
	return lines
}

// viridis is the colour map of that name at 0, 1/4 .. 1: even steps to the eye, with any colour vision.
var viridis = [5][3]float64{{68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}}

func (s Style) cell(x float64, width int) string {
	x = min(max(x, 0), 1)
	switch s {
	case Color:
		at := x * float64(len(viridis)-1)
		lo := min(int(at), len(viridis)-2)
		var c [3]int
		for i := range c {
			c[i] = int(math.Round(viridis[lo][i] + (at-float64(lo))*(viridis[lo+1][i]-viridis[lo][i])))
		}
		return fmt.Sprintf("\x1b[48;2;%d;%d;%dm%s", c[0], c[1], c[2], strings.Repeat(" ", width))
	case Blocks:
		return strings.Repeat(string([]rune(" ░▒▓█")[min(int(x*5), 4)]), width)
	}
	return runewidth.FillRight(fmt.Sprint(min(int(10*x+1e-6), 9)), width)
}

// shades is how many opacities a picture has. The opacity is the square root of the weight, so that small weights are seen.
const shades = 20

// cells draws the weights in the unit square's T by T grid: one path per shade.
func (a *Attention) cells(layer, head int) string {
	paths := make([]strings.Builder, shades+1)
	for i, row := range a.Weights[layer][head] {
		for j, x := range row[:i+1] {
			if level := int(math.Round(shades * math.Sqrt(float64(x)))); level > 0 {
				fmt.Fprintf(&paths[min(level, shades)], "M%d %dh1v1h-1z", j, i)
			}
		}
	}
	var s svg
	for level := range paths {
		if d := paths[level].String(); d != "" {
			s.el(`path d="%s" fill="%s" fill-opacity="%s"`, d, palette[0], num(float64(level)/shades))
		}
	}
	return s.String()
}

// large is one head with labels on both axes; each row tells on hovering what it looks at most.
func (a *Attention) large(layer, head int) string {
	T := len(a.Tokens)
	size := min(max(640/float64(T), 7), 44) // of a cell
	font := min(13, size*0.85)
	longest := 0
	labels := make([]string, T)
	for i, t := range a.Tokens {
		labels[i] = runewidth.Truncate(label(t), 16, "…")
		longest = max(longest, runewidth.StringWidth(labels[i]))
	}
	margin := float64(longest)*font*0.62 + 12
	map0, side := margin, size*float64(T)
	width := map0 + side + 10
	var s svg
	s.text(4, 16, 13, `font-weight="600"`, fmt.Sprintf("layer %d, head %d", layer, head))
	top := margin + 22
	fmt.Fprintf(&s, `<g transform="translate(%s %s) scale(%s)">`+"\n%s</g>\n", num(map0), num(top), num(size), a.cells(layer, head))
	for i := 0; i <= T; i++ { // the staircase of what may be seen
		x, y := map0+size*float64(min(i+1, T)), top+size*float64(i)
		s.el(`path d="M%s %sH%s" stroke="currentColor" stroke-opacity="0.18"`, num(map0), num(y), num(x))
		if i < T {
			s.el(`path d="M%s %sV%s" stroke="currentColor" stroke-opacity="0.18"`, num(map0+size*float64(i)), num(y), num(top+side))
		}
	}
	if size >= 28 { // room for numbers
		for i, row := range a.Weights[layer][head] {
			for j, x := range row[:i+1] {
				s.text(map0+(float64(j)+0.5)*size, top+(float64(i)+0.5)*size+4, 11, `text-anchor="middle"`, strings.TrimPrefix(fmt.Sprintf("%.2f", x), "0"))
			}
		}
	}
	for i, l := range labels {
		at := (float64(i) + 0.5) * size
		s.text(map0-6, top+at+font*0.35, font, `text-anchor="end"`, l)
		s.text(0, 0, font, fmt.Sprintf(`transform="translate(%s %s) rotate(-90)"`, num(map0+at+font*0.35), num(top-6)), l)
		fmt.Fprintf(&s, `<rect x="0" y="%s" width="%s" height="%s" fill-opacity="0"><title>%s</title></rect>`+"\n",
			num(top+float64(i)*size), num(width), num(size), html.EscapeString(a.most(layer, head, i)))
	}
	return Figure(width, top+side+10, fmt.Sprintf("attention weights of layer %d, head %d, rows look at columns", layer, head), s.String())
}

// most says in words what token i looks at most.
func (a *Attention) most(layer, head, i int) string {
	row := a.Weights[layer][head][i][:i+1]
	order := make([]int, len(row))
	for j := range order {
		order[j] = j
	}
	slices.SortStableFunc(order, func(x, y int) int {
		switch {
		case row[x] > row[y]:
			return -1
		case row[x] < row[y]:
			return 1
		}
		return 0
	})
	var parts []string
	for _, j := range order[:min(5, len(order))] {
		parts = append(parts, fmt.Sprintf("%q %.3f", label(a.Tokens[j]), row[j]))
	}
	return fmt.Sprintf("%q looks at %s", label(a.Tokens[i]), strings.Join(parts, ", "))
}

// SVG is the picture of one head as a file.
func (a *Attention) SVG(layer, head int) string { return alone(a.large(layer, head)) }

// HTML is a page with all heads of the layers given as small maps, each of which opens its large one.
func (a *Attention) HTML(title string, heads [][2]int) string {
	T := len(a.Tokens)
	var b strings.Builder
	fmt.Fprintf(&b, "<h1>%s</h1>\n<p class=\"quiet\">Rows look at columns: a row's weights sum to 1, and what comes later is not seen. The stronger the colour, the larger the weight (opacity is its square root). Choose a map to see it large; a row tells what it looks at most.</p>\n", html.EscapeString(title))
	for _, h := range heads {
		fmt.Fprintf(&b, "<section class=\"large\" id=\"l%dh%d\"><div class=\"wide\">%s</div></section>\n", h[0], h[1], a.large(h[0], h[1]))
	}
	if len(heads) > 1 {
		last := -1
		for _, h := range heads {
			if h[0] != last {
				if last >= 0 {
					b.WriteString("</div>\n")
				}
				fmt.Fprintf(&b, "<h2>Layer %d</h2>\n<div class=\"grid\">\n", h[0])
				last = h[0]
			}
			small := Figure(96, 96, fmt.Sprintf("layer %d, head %d", h[0], h[1]), fmt.Sprintf(`<g transform="scale(%s)">`+"\n%s</g>\n", num(96/float64(T)), a.cells(h[0], h[1])))
			fmt.Fprintf(&b, "<a href=\"#l%dh%d\">%s<span>head %d</span></a>\n", h[0], h[1], small, h[1])
		}
		b.WriteString("</div>\n")
	}
	first := fmt.Sprintf("body:not(:has(.large:target)) #l%dh%d{display:block}\n", heads[0][0], heads[0][1])
	return Page(title, `
.large{display:none}.large:target{display:block}
`+first+`.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(96px,1fr));gap:.75rem}
.grid a{display:block;text-decoration:none;text-align:center;font-size:.8rem}
.grid svg{border:1px solid var(--line);display:block;margin:0 auto}
.large svg{max-width:none}
`, b.String())
}
