package web

import (
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
)

// A labeler's gold score is shown once it rests on so many pairs, and in steps: what one task does to it must not be seen,
// or it would tell which tasks are gold.
const (
	goldPairsShown = 20
	goldStep       = 0.05
)

// meData are a labeler's own figures in the project.
type meData struct {
	Project    labeling.Project
	Several    bool
	Done, Open int // tasks, as they stand
	Stats      *labeling.LabelerStats
	At         time.Time // of Stats
	Gold       float64   // rounded to goldStep; NaN: not enough yet
}

// HasGold says whether there is a gold score to show.
func (d meData) HasGold() bool { return !math.IsNaN(d.Gold) }

func (s *server) mePage(c *gin.Context) {
	p, all, err := s.projects(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	if p == nil {
		s.showProjects(c, all)
		return
	}
	ctx, me := c.Request.Context(), user(c).ID
	d := meData{Project: *p, Several: len(all) > 1, Gold: math.NaN()}
	progress, err := s.Labeling.Progress(ctx, p.ID, me)
	d.Done, d.Open = progress.Done, progress.Open
	var stats labeling.Dashboard
	if err == nil {
		stats, err = s.Labeling.Dashboard(ctx, p.ID)
		if errors.Is(err, labeling.ErrNotFound) {
			err = nil // not computed yet
		}
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	for i := range stats.Labelers {
		if l := &stats.Labelers[i]; l.LabelerID == me {
			d.Stats, d.At = l, stats.ComputedAt
			if l.Gold.N >= goldPairsShown {
				d.Gold = goldStep * math.Round(l.Gold.Value/goldStep)
			}
		}
	}
	s.render(c, http.StatusOK, "me", view{Title: "My figures", Nav: "label", Data: d})
}
