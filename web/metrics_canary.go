package web

import (
	"math"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
)

// verdictFigures are what guards say, in numbers.
var verdictFigures = map[string]float64{registry.VerdictFine: 0, registry.VerdictFew: 1, registry.VerdictBad: 2}

// trial writes what the canary does that is under way. Without one its share is 0, and nothing is said of its sides.
func (w watched) trial(out exposition) {
	var c loop.CanaryView
	if w.canary.Open != nil {
		c = *w.canary.Open
	}
	out.one("rankloop_canary_share", "gauge", "Share of the requests that the canary answers; 0: there is none.", c.Share)
	out.one("rankloop_canary_paused", "gauge", "Whether it is kept at its share.", map[bool]float64{true: 1}[c.State == registry.CanaryPaused])
	out.head("rankloop_canary_answers", "gauge", "Answers since its step began that its guards have counted, by who gave them; of what serves only some are.")
	for _, v := range c.Verdicts {
		if v.Guard == registry.GuardErrors {
			out.value("rankloop_canary_answers", float64(v.NCanary), "arm", "canary")
			out.value("rankloop_canary_answers", float64(v.NServing), "arm", "serving")
		}
	}
	out.head("rankloop_canary_failures", "gauge", "Those of them that failed.")
	for _, v := range c.Verdicts {
		if v.Guard == registry.GuardErrors {
			out.value("rankloop_canary_failures", math.Round(v.Canary*float64(v.NCanary)), "arm", "canary")
			out.value("rankloop_canary_failures", math.Round(v.Serving*float64(v.NServing)), "arm", "serving")
		}
	}
	out.head("rankloop_canary_guard", "gauge", "What a guard says: 0 fine, 1 too little data, 2 worse than is allowed.")
	for _, v := range c.Verdicts {
		out.value("rankloop_canary_guard", verdictFigures[v.Verdict], "guard", v.Guard)
	}
	out.head("rankloop_canaries_ended_total", "counter", "Canaries that have ended, by how: rolled_back by a guard, aborted by a person or a server.")
	for _, s := range []string{registry.CanaryPromoted, registry.CanaryRolledBack, registry.CanaryAborted} {
		out.value("rankloop_canaries_ended_total", float64(w.canary.Ended[s]), "state", s)
	}
}
