package web

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/lang"
)

const (
	stepHeight = 58.0
	stepRadius = 9.0
	guardLeft  = 168.0
	guardRow   = 24.0
)

// canaryPlot draws the steps of a canary: those it has behind it, the one it is at, and the promotion at the end. Beside a step stands
// its share, below it the answers that it took.
func canaryPlot(id, title, desc string, v loop.CanaryView) template.HTML {
	var b strings.Builder
	svgHead(&b, id, title, desc, stepHeight)
	shares := append(append([]float64{}, v.Config.Shares...), 1)
	at := v.Step
	if v.State == registry.CanaryPromoted {
		at = len(shares) - 1
	}
	gap := (plotWidth - 60) / float64(len(shares)-1)
	x := func(i int) float64 { return 30 + gap*float64(i) }
	for i := range shares {
		if i > 0 {
			class := "axis"
			if i <= at {
				class = "reached"
			}
			svgLine(&b, class, x(i-1)+stepRadius, 22, x(i)-stepRadius, 22)
		}
		class := "node"
		switch {
		case i == at && (v.State == registry.CanaryRolledBack || v.State == registry.CanaryAborted):
			class = "part p3"
		case i == at && v.State == registry.CanaryPaused:
			class = "part p2"
		case i == at && v.Open():
			class = "part p0"
		case i <= at:
			class = "part p1"
		}
		fmt.Fprintf(&b, `<circle class="%s" cx="%s" cy="22" r="%s"/>`, class, coordinate(x(i)), coordinate(stepRadius))
		svgText(&b, x(i), 50, "middle", "name", strconv.FormatFloat(100*shares[i], 'f', -1, 64)+"%")
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// guardPlot draws how far both sides of a canary are from what is allowed, a row for each guard that decides by an upper limit: the
// canary as a dot, what serves as a ring, and a line at the limit, which is named allowed.
func guardPlot(l *lang.Language, id, title, desc, allowed string, list []registry.Verdict) template.HTML {
	var rows []registry.Verdict
	for _, v := range list {
		if v.Guard != registry.GuardReward && v.Allowed > 0 {
			rows = append(rows, v)
		}
	}
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	height := guardRow*float64(len(rows)) + 30
	svgHead(&b, id, title, desc, height)
	limit := guardLeft + (plotWidth-guardLeft)*0.62
	x := func(v registry.Verdict, of float64) float64 {
		return guardLeft + math.Min(1.55, of/v.Allowed)*(limit-guardLeft)
	}
	svgText(&b, limit, 12, "middle", "tick", allowed)
	for i, v := range rows {
		y := 30 + guardRow*float64(i)
		svgText(&b, guardLeft-10, y+4, "end", "name", clipRunes(named(l, guardNames, v.Guard), 24))
		svgLine(&b, "grid", guardLeft, y, plotWidth, y)
		fmt.Fprintf(&b, `<circle class="ring" cx="%s" cy="%s" r="5"><title>%s</title></circle>`, coordinate(x(v, v.Serving)), coordinate(y), html.EscapeString(figure(l, v, v.Serving)))
		class := map[string]string{registry.VerdictBad: "part p3", registry.VerdictFine: "part p1", registry.VerdictFew: "part p4"}[v.Verdict]
		fmt.Fprintf(&b, `<circle class="%s" cx="%s" cy="%s" r="5"><title>%s</title></circle>`, class, coordinate(x(v, v.Canary)), coordinate(y), html.EscapeString(figure(l, v, v.Canary)))
	}
	svgLine(&b, "reference", limit, 18, limit, height-6)
	b.WriteString("</svg>")
	return template.HTML(b.String())
}
