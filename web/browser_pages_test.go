package web

import (
	"encoding/json"
	"strings"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
)

// named checks the accessibility tree: what can be operated has a name.
func (b *tab) named() {
	b.Helper()
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	b.w.must(err)
	seen := 0
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		var role, name string
		_ = json.Unmarshal(n.Role.Value, &role) // a value that is no string has no role of interest
		switch role {
		case "button", "link", "textbox", "combobox", "checkbox", "radio", "spinbutton", "dialog", "progressbar":
			seen++
			if n.Name != nil {
				_ = json.Unmarshal(n.Name.Value, &name)
			}
			if strings.TrimSpace(name) == "" {
				b.Errorf("%s: a %s has no name", eval[string](b, `location.pathname`), role)
			}
		}
	}
	if seen < 2 {
		b.Errorf("only %d controls found", seen)
	}
}
