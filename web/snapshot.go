package web

import (
	"context"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
)

// rankingsShown is how many rankings the page of a snapshot shows.
const rankingsShown = 50

// originData is whose work a snapshot holds, as pages show it.
type originData struct {
	labeling.Origin
	Names map[string]string // of labelers, by "user:<id>"
	ByID  map[string]string // names of the versions that wrote the answers
	Admin bool              // who reads may see the instructions
}

func (s *server) originOf(ctx context.Context, id string, names map[string]string, admin bool) (*originData, error) {
	o, err := s.Labeling.SnapshotOrigin(ctx, id)
	if err != nil {
		return nil, err
	}
	d := &originData{o, names, map[string]string{}, admin}
	for _, m := range o.Models {
		if v, err := s.Registry.Get(ctx, m.ID); err == nil {
			d.ByID[m.ID] = v.Name
		}
	}
	return d, nil
}

type snapshotData struct {
	Origin   *originData
	Rankings []labeling.SnapshotRanking
	Next     int                // position that the next page begins at; 0: there is none
	Models   []registry.Version // that learned from it
	Formats  []string
}

// snapshotPage shows what a snapshot holds, whose work that is, and what learned from it.
func (s *server) snapshotPage(c *gin.Context) {
	ctx := c.Request.Context()
	from := 0
	if v := c.Query("from"); v != "" {
		var err error
		if from, err = strconv.Atoi(v); err != nil || from < 0 || from > 1<<30 {
			s.fail(c, bad("from", "must be a whole number from 0"))
			return
		}
	}
	d := snapshotData{Formats: labeling.ExportNames()}
	names, err := s.names(ctx)
	if err == nil {
		d.Origin, err = s.originOf(ctx, c.Param("id"), names, user(c).Role.Admin())
	}
	if err == nil {
		d.Rankings, err = s.Labeling.SnapshotRankings(ctx, c.Param("id"), from, rankingsShown+1)
	}
	if err == nil {
		d.Models, err = s.Registry.Learned(ctx, []string{c.Param("id")})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if len(d.Rankings) > rankingsShown {
		d.Next = d.Rankings[rankingsShown].Position
		d.Rankings = d.Rankings[:rankingsShown]
	}
	s.render(c, http.StatusOK, "snapshot", view{Title: s.say(c, "Snapshot %s", labeling.Visible(d.Origin.Snapshot.Name)), Nav: "models", Data: d})
}
