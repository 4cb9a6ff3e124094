package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/rankloop/rankloop/model/eval"
)

type modelAttentionCmd struct {
	Model string `arg:"" help:"A model folder, or base or sft for the starter model."`
	Text  string `arg:"" help:"The text to look at."`
	Layer int    `default:"0" help:"Which layer; the first is 0."`
	Head  int    `default:"0" help:"Which head; the first is 0."`
	All   bool   `help:"All layers and heads."`
	Style string `enum:"auto,color,blocks,digits" default:"auto" help:"How to draw in the terminal: color, blocks, digits, or auto by what the terminal can do."`
	Out   string `help:"Write a picture instead: FILE.svg (one head) or FILE.html (one head, or a page of all with --all)." placeholder:"FILE" type:"path"`
	JSON  bool   `name:"json" help:"The weights as one JSON line: ids, tokens, maps."`
}

func (modelAttentionCmd) Help() string {
	return `Shows how much each token (row) looks at those before it and at itself (columns). Rows sum to 1; the future is never seen.

Example:
  rankloop model attention sft "You are a good man" --layer 2 --head 1
  rankloop model attention sft "You are a good man" --all --out attention.html`
}

// attentionMap is one head in the JSON output.
type attentionMap struct {
	Layer   int         `json:"layer"`
	Head    int         `json:"head"`
	Weights [][]float32 `json:"weights"` // [T][T]
}

func (c modelAttentionCmd) Run(std streams) error {
	ext := strings.ToLower(filepath.Ext(c.Out))
	switch {
	case c.Out != "" && ext != ".svg" && ext != ".html":
		return usageError{fmt.Errorf("--out %s: a name that ends in .svg or .html is wanted", c.Out)}
	case ext == ".svg" && c.All:
		return usageError{fmt.Errorf("--out %s: an SVG file shows one head; --all needs a name that ends in .html", c.Out)}
	}
	cp, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	tok, err := needTokenizer(cp, c.Model)
	if err != nil {
		return err
	}
	cfg := cp.Model.Config()
	if c.Layer < 0 || c.Layer >= cfg.Layers {
		return usageError{fmt.Errorf("--layer %d: the model has layers 0 to %d", c.Layer, cfg.Layers-1)}
	}
	if c.Head < 0 || c.Head >= cfg.Heads {
		return usageError{fmt.Errorf("--head %d: the model has heads 0 to %d", c.Head, cfg.Heads-1)}
	}
	a, err := eval.Attend(cp.Model, tok, c.Text)
	var bad *eval.InvalidError
	if errors.As(err, &bad) {
		return usageError{fmt.Errorf("%s: %s", bad.Field, bad.Reason)}
	}
	if err != nil {
		return err
	}
	heads := [][2]int{{c.Layer, c.Head}}
	if c.All {
		heads = heads[:0]
		for l := range cfg.Layers {
			for h := range cfg.Heads {
				heads = append(heads, [2]int{l, h})
			}
		}
	}
	if c.Out != "" {
		picture := a.SVG(c.Layer, c.Head)
		if ext == ".html" {
			picture = a.HTML(fmt.Sprintf("Attention of %s", filepath.Base(c.Model)), heads)
		}
		if err := os.WriteFile(c.Out, []byte(picture), 0o644); err != nil {
			return err
		}
		fmt.Fprintln(std.err, "wrote", c.Out)
	}
	if c.JSON {
		maps := make([]attentionMap, len(heads))
		for i, h := range heads {
			maps[i] = attentionMap{h[0], h[1], a.Weights[h[0]][h[1]]}
		}
		return json.NewEncoder(std.out).Encode(map[string]any{"ids": a.IDs, "tokens": a.Tokens, "maps": maps})
	}
	if c.Out != "" {
		return nil
	}
	style, width := screen(std.out)
	if c.Style != "auto" {
		style = eval.Style(c.Style)
	}
	for _, h := range heads {
		if err := a.WriteText(std.out, h[0], h[1], style, width); err != nil {
			return err
		}
	}
	return nil
}

// screen says what the place that is written to can show: a terminal that promises 24-bit colour gets it, unless NO_COLOR is
// set; another terminal with UTF-8 gets blocks; files and pipes get digits, as wide as they come.
func screen(w io.Writer) (eval.Style, int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return eval.Digits, 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 80
	}
	return styleOf(os.Getenv), width
}

// styleOf picks the style for a terminal from its environment.
func styleOf(env func(string) string) eval.Style {
	locale := env("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = env(name)
		}
	}
	locale = strings.ToLower(strings.ReplaceAll(locale, "-", ""))
	switch {
	case env("TERM") == "dumb":
		return eval.Digits
	case env("NO_COLOR") == "" && (env("COLORTERM") == "truecolor" || env("COLORTERM") == "24bit"):
		return eval.Color
	case strings.Contains(locale, "utf8"):
		return eval.Blocks
	}
	return eval.Digits
}
