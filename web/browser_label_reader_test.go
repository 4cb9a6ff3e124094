package web

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// read is what a screen reader meets on the page, in its order: role and name of what is not mere structure.
func (b *tab) read() []string {
	b.Helper()
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	b.w.must(err)
	nodes := map[accessibility.NodeID]*accessibility.Node{}
	for _, n := range tree.Nodes {
		nodes[n.NodeID] = n
	}
	word := func(v *accessibility.Value) string {
		var s string
		if v != nil {
			_ = json.Unmarshal(v.Value, &s) // what is no string is nothing that is read
		}
		return s
	}
	var out []string
	var walk func(n *accessibility.Node)
	walk = func(n *accessibility.Node) {
		role := word(n.Role)
		if !n.Ignored && !slices.Contains([]string{"RootWebArea", "generic", "none", "InlineTextBox", "paragraph", "LayoutTable", "MenuListPopup", "menuListOption", "option"}, role) {
			if role == "StaticText" {
				role = "text"
			}
			out = append(out, strings.TrimSpace(role+" "+word(n.Name)))
		}
		if role == "combobox" {
			return
		}
		for _, id := range n.ChildIDs {
			if c := nodes[id]; c != nil {
				walk(c)
			}
		}
	}
	walk(tree.Nodes[0])
	return out
}

// script is journey 10: what comes after what. Between two of its lines others may be.
var script = []string{
	"main", "heading Rank the answers", "region Conversation", "heading Conversation", "text User", "text Tell story number 0 about a fox and a drum.",
	"DisclosureTriangle Instructions", "text Rank the answers from best to worst.", "region Answers", "heading Answers", "list",
	"listitem Answer A, 1 of 4, unranked", "heading Answer A", "combobox Rank of answer A", "button Move answer A up",
	"group Overall of answer A, 1 worst to 7 best", "radio 1", "radio 7", "DisclosureTriangle Flags",
	"listitem Answer B, 2 of 4, unranked", "heading Answer B", "listitem Answer C, 3 of 4, unranked", "listitem Answer D, 4 of 4, unranked", "radio 7",
	"button Skip S", "button Submit Enter",
}

// TestReadAloud: journey 10. The order of reading is that of the work, moves are announced, the focus is never hidden by
// the bar, and where motion is unwanted there is none.
func TestReadAloud(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 1, 1280, 600)
	heard := b.read()
	at := 0
	for _, line := range heard {
		if at < len(script) && strings.HasPrefix(line, script[at]) {
			at++
		}
	}
	if at < len(script) {
		t.Fatalf("%q does not come where it should; heard:\n%s", script[at], strings.Join(heard, "\n"))
	}
	live := func(want string) {
		t.Helper()
		b.until(fmt.Sprintf(`document.getElementById("live").textContent === %q`, want))
	}
	b.keys("2")
	live("Answer A, rank 2. 3 left.")
	b.keys("2")
	live("Answer B, rank 2, tied with A. 2 left.")
	b.keys("1")
	live("Answer C, rank 1. 1 left.")
	b.keys("4")
	live("Answer D, rank 4. All ranked: C > A = B > D. Enter submits.")
	if got := b.read(); !slices.Contains(got, "listitem Answer B, 3 of 4, rank 2, tied with A") {
		t.Errorf("heard %s", strings.Join(got, "\n"))
	}
	if role := eval[string](b, `document.getElementById("live").getAttribute("aria-live")`); role != "assertive" {
		t.Error("moves are not announced")
	}
	// Through all controls by Tab: each is seen, none lies under the bar.
	seen := map[string]bool{}
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".brand").focus()`))
	for range 90 {
		b.do(chromedp.KeyEvent(kb.Tab))
		got := eval[struct {
			Name   string
			Hidden bool
		}](b, `(() => {
			const e = document.activeElement, r = e.getBoundingClientRect(), dock = document.getElementById("dock").getBoundingClientRect();
			return { Name: (e.id || e.className || e.name || e.tagName) + " " + (e.value || e.closest(".card")?.dataset.key || ""), Hidden: !e.closest(".dock") && e !== document.body && (r.top >= dock.top || r.bottom <= 0) };
		})()`)
		if got.Hidden {
			time.Sleep(300 * time.Millisecond) // a scroll under way
			if eval[bool](b, `document.activeElement.getBoundingClientRect().top >= document.getElementById("dock").getBoundingClientRect().top`) {
				t.Errorf("%s has the focus under the bar", got.Name)
			}
		}
		seen[got.Name] = true
	}
	if len(seen) < 25 {
		t.Errorf("Tab reaches %d controls: %v", len(seen), seen)
	}
}

// TestCalm: where motion is unwanted, cards do not glide and the page does not scroll smoothly.
func TestCalm(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 1, 1280, 480)
	glides := func() bool {
		return eval[bool](b, `(() => { document.querySelector(".card.focus").dispatchEvent(new KeyboardEvent("keydown", { key: "J", shiftKey: true, bubbles: true })); return document.getAnimations().some((a) => !(a instanceof CSSTransition) && a.effect.target.matches(".card")); })()`)
	}
	b.keys("1")
	b.keys("2")
	b.keys("kk")
	if !glides() {
		t.Fatal("cards do not glide where motion is welcome: this test shows nothing")
	}
	b.calm()
	b.do(chromedp.Reload())
	b.until(taskOpen)
	b.keys("kkk")
	if glides() {
		t.Error("cards glide although motion is unwanted")
	}
}

// calm asks for reduced motion, as the settings of a machine do.
func (b *tab) calm() {
	b.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}})
	b.w.must(err)
}
