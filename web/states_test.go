package web

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/rankloop/rankloop/ppo/loop"
)

// TestStatesDrawn: the picture of a round's stages in the manual draws every way that the program knows, and no other.
func TestStatesDrawn(t *testing.T) {
	for _, page := range []string{"docs/rounds.html", "docs/zh-Hant/rounds.html"} {
		b, err := docsFS.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		root, err := html.Parse(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var drawn []loop.Transition
		for n := range root.Descendants() {
			if n.Type != html.ElementNode || n.Data != "path" {
				continue
			}
			at := map[string]string{}
			for _, a := range n.Attr {
				at[a.Key] = a.Val
			}
			if at["class"] != "way" {
				continue
			}
			for _, from := range strings.Split(at["data-from"], " ") {
				for _, to := range strings.Split(at["data-to"], " ") {
					drawn = append(drawn, loop.Transition{From: loop.Stage(from), To: loop.Stage(to)})
				}
			}
		}
		for _, way := range drawn {
			if !slices.Contains(loop.Transitions, way) {
				t.Errorf("%s draws %q to %q, which no round goes", page, way.From, way.To)
			}
		}
		for _, way := range loop.Transitions {
			if n := count(drawn, way); n != 1 {
				t.Errorf("%s draws %q to %q %d times", page, way.From, way.To, n)
			}
		}
	}
}

func count(all []loop.Transition, one loop.Transition) (n int) {
	for _, t := range all {
		if t == one {
			n++
		}
	}
	return n
}
