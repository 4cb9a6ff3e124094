package web

import (
	"context"
	"errors"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
)

// lineageRoutes are those of the pages that say what came from whom.
func (s *server) lineageRoutes() {
	s.route(readers, get, "/admin/lineage", s.lineagePage)
	s.route(admins, post, "/admin/lineage/retrain", s.retrain)
}

type lineageData struct {
	Subject   labeling.Subject
	Name      string // of the subject, for people
	Asked     bool
	Snapshots []labeling.Touched
	Models    []registry.Version
	Serving   string // id of the version that serves
	Open      bool   // a round is under way
}

// lineagePage follows one customer, labeler or ranking to every model that learned from it.
func (s *server) lineagePage(c *gin.Context) {
	ctx := c.Request.Context()
	d := lineageData{Subject: labeling.Subject{Kind: c.DefaultQuery("kind", labeling.SubjectLabeler), ID: strings.TrimSpace(c.Query("id"))}}
	if d.Subject.ID != "" {
		d.Asked = true
		if err := s.trace(ctx, &d); err != nil {
			s.fail(c, err)
			return
		}
	}
	s.render(c, http.StatusOK, "lineage", view{Title: "Lineage", Nav: "models", Note: note(c), Data: d})
}

// trace fills in what learned from the subject.
func (s *server) trace(ctx context.Context, d *lineageData) error {
	if d.Subject.Kind == labeling.SubjectLabeler {
		if err := s.byEmail(ctx, &d.Subject); err != nil {
			return err
		}
		names, err := s.names(ctx)
		if err != nil {
			return err
		}
		d.Name = names["user:"+d.Subject.ID]
	}
	var err error
	if d.Snapshots, err = s.Labeling.SnapshotsOf(ctx, d.Subject); err != nil {
		return err
	}
	ids := make([]string, len(d.Snapshots))
	for i, t := range d.Snapshots {
		ids[i] = t.ID
	}
	if d.Models, err = s.Registry.Learned(ctx, ids); err != nil {
		return err
	}
	live, err := s.Registry.Serving(ctx, loop.Channel)
	if err == nil {
		d.Serving = live.ID
	} else if !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	d.Open, err = s.roundOpen(ctx)
	return err
}

// roundOpen says whether a round is under way, so that no other can start.
func (s *server) roundOpen(ctx context.Context) (bool, error) {
	rounds, err := s.Loop.List(ctx, s.ProjectID, 1)
	return len(rounds) > 0 && !rounds[0].Stage.Ended(), err
}

// byEmail takes a labeler's e-mail address for the id, which nobody remembers.
func (s *server) byEmail(ctx context.Context, subject *labeling.Subject) error {
	if !strings.Contains(subject.ID, "@") {
		return nil
	}
	users, err := s.Accounts.Users(ctx)
	for _, u := range users {
		if strings.EqualFold(u.Email, subject.ID) {
			subject.ID = u.ID
		}
	}
	return err
}

// taintedBy is why a version should be trained again, and from which round on.
type taintedBy struct {
	Reason  string
	Erasure string     // id, where that is the reason
	From    loop.Round // the first round of the version's line that learned from what is gone; Number 0: no round did
}

func (s *server) taintsOf(ctx context.Context, versionID string) (out []taintedBy, err error) {
	list, err := s.Registry.Taints(ctx, versionID)
	for _, t := range list {
		v := taintedBy{Reason: t.Reason}
		if id, ok := strings.CutPrefix(t.Reason, "erasure "); ok {
			v.Erasure = id
		}
		if t.RoundID != "" {
			if v.From, err = s.Loop.View(ctx, t.RoundID); err != nil {
				return nil, err
			}
		}
		out = append(out, v)
	}
	return out, err
}

// retrain starts a round that learns from all rankings that there are, but those of a subject where one is named, with the settings of
// the round that is named or of the last one.
func (s *server) retrain(c *gin.Context) {
	ctx := c.Request.Context()
	var subject labeling.Subject
	var from string
	for name, at := range map[string]*string{"kind": &subject.Kind, "id": &subject.ID, "round": &from} {
		var err error
		if *at, err = formValue(c, name, 300); err != nil {
			s.fail(c, err)
			return
		}
	}
	rounds, err := s.Loop.List(ctx, s.ProjectID, 1)
	if err == nil && from != "" {
		rounds = make([]loop.Round, 1)
		rounds[0], err = s.Loop.View(ctx, from)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	cfg := relearn(s.nextConfig(rounds))
	if !slices.Contains(cfg.Without, subject) && (from == "" || subject != labeling.Subject{}) {
		cfg.Without = append(slices.Clone(cfg.Without), subject)
	}
	r, err := s.Loop.Start(ctx, s.ProjectID, actor(c), cfg)
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/rounds/"+url.PathEscape(r.ID), "started")
}

// relearn is the setup of a round that learns again from the rankings that are there.
func relearn(cfg loop.Config) loop.Config {
	cfg.Retrain, cfg.Promotion, cfg.Snapshot, cfg.RewardModel = true, loop.PromoteByHand, "", ""
	cfg.Parts = slices.DeleteFunc(slices.Clone(cfg.Parts), func(p loop.Stage) bool { return p == loop.StageRank })
	if !slices.Contains(cfg.Parts, loop.StageReward) {
		cfg.Parts = nil
	}
	return cfg
}

// Sizes of the picture of a lineage.
const (
	nodeWidth    = 136.0
	nodeHeight   = 40.0
	nodeGap      = 18.0
	layerGap     = 34.0
	maxLayers    = 12 // deeper ancestors are in the table only
	maxLayer     = 8  // nodes of a layer, likewise
	nodeLetters  = 19
	lineageLabel = "lineage"
)

// lineageGraph draws a version on top and below it, layer by layer, what it was made from: versions, and the snapshots that they
// learned from, called by that word. kind names kinds. All of it is in tables too.
func lineageGraph(kind func(string) string, line []registry.Ancestor, title, desc, snapshot string) template.HTML {
	type node struct {
		id, name, kind string
		to             []string // ids of what was made from it
		x, y           float64
	}
	layers := make([][]*node, maxLayers+1)
	at := map[string]*node{}
	add := func(depth int, n *node) {
		if old := at[n.id]; old != nil {
			old.to = append(old.to, n.to...)
			return
		}
		if depth < len(layers) && len(layers[depth]) < maxLayer {
			layers[depth], at[n.id] = append(layers[depth], n), n
		}
	}
	depth := layersOf(line)
	for _, a := range line {
		add(depth[a.ID], &node{id: a.ID, name: a.Name, kind: kind(a.Kind)})
	}
	for _, a := range line {
		for _, p := range a.Parents {
			if n := at[p]; n != nil {
				n.to = append(n.to, a.ID)
			}
		}
		if a.Snapshot != nil {
			add(depth[a.ID]+1, &node{id: *a.Snapshot, name: short(*a.Snapshot), kind: snapshot, to: []string{a.ID}})
		}
	}
	widest, deep := 0, 0
	for i, layer := range layers {
		if widest = max(widest, len(layer)); len(layer) > 0 {
			deep = i + 1
		}
	}
	width := float64(widest)*(nodeWidth+nodeGap) - nodeGap
	for i, layer := range layers {
		left := (width - float64(len(layer))*(nodeWidth+nodeGap) + nodeGap) / 2
		for j, n := range layer {
			n.x, n.y = left+float64(j)*(nodeWidth+nodeGap), float64(i)*(nodeHeight+layerGap)
		}
	}
	height := float64(deep)*(nodeHeight+layerGap) - layerGap
	cut := func(text string) string {
		if r := []rune(text); len(r) > nodeLetters {
			return string(r[:nodeLetters-1]) + "…"
		}
		return text
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot tree" role="img" aria-labelledby="%[1]s-title %[1]s-desc" viewBox="-2 -2 %[2]s %[3]s" width="%[2]s" height="%[3]s"><title id="%[1]s-title">%[4]s</title><desc id="%[1]s-desc">%[5]s</desc>`,
		lineageLabel, coordinate(width+4), coordinate(height+4), html.EscapeString(title), html.EscapeString(desc))
	for _, layer := range layers {
		for _, n := range layer {
			for _, id := range n.to {
				if m := at[id]; m != nil {
					svgLine(&b, "axis", n.x+nodeWidth/2, n.y, m.x+nodeWidth/2, m.y+nodeHeight)
				}
			}
		}
	}
	for _, layer := range layers {
		for _, n := range layer {
			fmt.Fprintf(&b, `<rect class="node" x="%s" y="%s" width="%s" height="%s" rx="6"/>`, coordinate(n.x), coordinate(n.y), coordinate(nodeWidth), coordinate(nodeHeight))
			svgText(&b, n.x+nodeWidth/2, n.y+17, "middle", "name", cut(labeling.Visible(n.name)))
			svgText(&b, n.x+nodeWidth/2, n.y+32, "middle", "tick", cut(n.kind))
		}
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) // names are escaped above
}

// layersOf is how far below the version each ancestor is drawn: below all that was made from it.
func layersOf(line []registry.Ancestor) map[string]int {
	depth := map[string]int{}
	for changed, rounds := true, 0; changed && rounds <= len(line); rounds++ {
		changed = false
		for _, a := range line {
			for _, p := range a.Parents {
				if depth[p] <= depth[a.ID] {
					depth[p], changed = depth[a.ID]+1, true
				}
			}
		}
	}
	return depth
}
