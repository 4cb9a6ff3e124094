package web

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/lang"
)

// comparePath is the page of comparisons, which also takes lists of prompts.
const comparePath = "/admin/compare"

// compareRoutes are the pages on which two versions are compared. Who judges does so on the page of the pairwise question.
func (s *server) compareRoutes() {
	one := comparePath + "/:id"
	s.route(readers, get, comparePath, s.comparisonsPage)
	s.route(admins, post, comparePath, s.startComparison)
	s.route(readers, get, one, s.comparisonPage)
	s.route(readers, get, "/admin/api/compare/:id", s.comparisonNow)
	s.route(readers, get, one+"/pairs", s.comparePairsPage)
	s.route(readers, get, one+"/pairs.csv", s.exportComparison("text/csv; charset=utf-8", compareCSV))
	s.route(readers, get, one+"/pairs.json", s.exportComparison("application/json", compareJSON))
	s.route(admins, post, one+"/look", s.compareAct(s.Loop.LookEarly, "looked"))
	s.route(admins, post, one+"/close", s.closeComparison)
	s.route(admins, post, one+"/reopen", s.compareAct(s.Loop.ReopenComparison, "reopened"))
	s.route(admins, post, one+"/settle", s.compareAct(s.settleComparison, "settled"))
	s.route(admins, post, one+"/delete", s.deleteComparison)
}

type comparisonsData struct {
	List     []loop.Comparison
	Names    map[string]string  // of versions
	Versions []registry.Version // that can answer
	Projects []labeling.Project // with prompts of their own
	New      loop.NewComparison // as sent, where it was refused
	Error    string
}

func (s *server) comparisonsPage(c *gin.Context) {
	n := loop.NewComparison{A: c.Query("a"), B: c.Query("b"), Config: loop.DefaultCompare()}
	n.Config.Project = s.ProjectID
	s.showComparisons(c, http.StatusOK, n, "")
}

func (s *server) showComparisons(c *gin.Context, code int, n loop.NewComparison, wrong string) {
	ctx := c.Request.Context()
	d := comparisonsData{New: n, Error: wrong}
	var err error
	if d.List, err = s.Loop.Comparisons(ctx, "", 200); err != nil {
		s.fail(c, err)
		return
	}
	all, err := s.Registry.List(ctx, "", 1000)
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, v := range all {
		if v.GoneAt == nil && (v.Kind == registry.Base || v.Kind == registry.SFT || v.Kind == registry.Policy) {
			d.Versions = append(d.Versions, v)
		}
	}
	if d.Names, err = s.contenders(ctx, d.List); err != nil {
		s.fail(c, err)
		return
	}
	projects, err := s.Labeling.Projects(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, p := range projects {
		if p.Comparison == "" {
			d.Projects = append(d.Projects, p)
		}
	}
	s.render(c, code, "compare", view{Title: "Comparisons", Nav: "models", Note: note(c), Data: d})
}

// contenders are the names of the versions that comparisons are between.
func (s *server) contenders(ctx context.Context, list []loop.Comparison) (map[string]string, error) {
	names := map[string]string{}
	for _, c := range list {
		for _, id := range []string{c.A, c.B, c.RewardVersionID} {
			if _, ok := names[id]; ok || id == "" {
				continue
			}
			v, err := s.Registry.Get(ctx, id)
			if err != nil {
				return nil, err
			}
			names[id] = v.Name
		}
	}
	return names, nil
}

// compareForm reads what a comparison is to be of.
func compareForm(c *gin.Context) (n loop.NewComparison, err error) {
	n.Config = loop.DefaultCompare()
	cfg := &n.Config
	if err = parseForm(c); err != nil {
		return n, err
	}
	text := func(name string, most int, at *string) {
		v, wrong := formValue(c, name, most)
		if err = cmp.Or(err, wrong); v != "" || name == "project" {
			*at = v
		}
	}
	text("a", 100, &n.A)
	text("b", 100, &n.B)
	text("project", 100, &cfg.Project)
	text("split", 20, &cfg.Split)
	text("category", 100, &cfg.Category)
	text("judges", 20, &cfg.Judges)
	text("list", maxBodyAPI, &n.List)
	for name, at := range map[string]*int{"n": &cfg.Prompts, "overlap": &cfg.Overlap, "max_tokens": &cfg.MaxTokens} {
		if v := c.PostForm(name); v != "" && err == nil {
			if *at, err = strconv.Atoi(v); err != nil {
				err = bad(name, "must be a whole number")
			}
		}
	}
	for name, at := range map[string]*float64{"temperature": &cfg.Temperature, "top_p": &cfg.TopP} {
		if v := c.PostForm(name); v != "" && err == nil {
			if *at, err = strconv.ParseFloat(v, 64); err != nil {
				err = bad(name, "must be a number such as 0.125")
			}
		}
	}
	if v := c.PostForm("seed"); v != "" && err == nil {
		if cfg.Seed, err = strconv.ParseUint(v, 10, 63); err != nil {
			err = bad("seed", "must be a whole number from 0")
		}
	}
	if err == nil {
		err = listedFile(c, &n.List)
	}
	n.List = strings.ReplaceAll(n.List, "\r\n", "\n")
	return n, err
}

// listedFile adds the lines of an uploaded file to those that were typed.
func listedFile(c *gin.Context, list *string) error {
	var files []*multipart.FileHeader
	if form := c.Request.MultipartForm; form != nil {
		files = form.File["file"]
	}
	for _, h := range files {
		f, err := h.Open()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(io.LimitReader(f, maxBodyAPI))
		f.Close()
		if err != nil {
			return err
		}
		*list = strings.TrimSpace(strings.TrimSpace(*list) + "\n" + strings.ToValidUTF8(string(b), "\ufffd"))
	}
	return nil
}

func (s *server) startComparison(c *gin.Context) {
	n, err := compareForm(c)
	var made loop.Comparison
	if err == nil {
		n.Actor = actor(c)
		made, err = s.Loop.StartComparison(c.Request.Context(), n)
	}
	if err != nil {
		if wrong := s.mendable(c, err); wrong != nil {
			s.showComparisons(c, wrong.Status, n, why(s.language(c), wrong))
		}
		return
	}
	done(c, comparePath+"/"+made.ID, "compared")
}

type comparisonData struct {
	loop.Comparison
	Names    map[string]string   // of versions
	People   map[string]string   // of actors
	Result   *loop.CompareReport // as it stands: at the end, or where somebody looked early
	Project  *labeling.Project   // whose prompts were asked; nil: a list's
	Target   labeling.Project    // that the judgements may become data of
	Progress string              // counted
}

// JudgeURL is where people judge.
func (d comparisonData) JudgeURL() string { return "/label?project=" + d.ProjectID }

func (s *server) comparisonPage(c *gin.Context) {
	ctx := c.Request.Context()
	v, err := s.Loop.Comparison(ctx, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	d := comparisonData{Comparison: v, Result: v.Report, Progress: compareProgress(s.language(c), v)}
	if v.Stage == loop.CompareJudge && v.LookedAt != nil {
		r, err := s.Loop.CompareReport(ctx, v)
		if err != nil {
			s.fail(c, err)
			return
		}
		d.Result = &r
	}
	if d.Names, err = s.contenders(ctx, []loop.Comparison{v}); err == nil {
		d.People, err = s.names(ctx)
	}
	if err == nil {
		d.Target, err = s.Labeling.Project(ctx, cmp.Or(v.Config.Project, s.ProjectID))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if v.Config.Project != "" {
		d.Project = &d.Target
	}
	s.render(c, http.StatusOK, "comparison", view{Title: s.say(c, "Comparison %d", v.Number), Nav: "models", Note: note(c), Data: d})
}

// compareProgress counts what the stage counts; empty where it counts nothing.
func compareProgress(l *lang.Language, v loop.Comparison) string {
	switch v.Stage {
	case loop.CompareSample:
		return counted(l, loop.Progress{Done: v.Answered, Total: v.Pairs, Unit: "prompts answered"})
	case loop.CompareJudge:
		return counted(l, loop.Progress{Done: v.Done, Total: v.Need, Unit: "judgements"})
	}
	return ""
}

// comparisonNow is how far a comparison is, for the page that waits for it.
func (s *server) comparisonNow(c *gin.Context) {
	v, err := s.Loop.Comparison(c.Request.Context(), c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	done, total := v.Done, v.Need
	if v.Stage == loop.CompareSample {
		done, total = v.Answered, v.Pairs
	}
	c.JSON(http.StatusOK, gin.H{"stage": v.Stage, "done": done, "total": total, "judged": v.Judged(), "counted": compareProgress(s.language(c), v)})
}

func (s *server) compareAct(act roundAct, key string) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := act(c.Request.Context(), c.Param("id"), actor(c)); err != nil {
			s.fail(c, err)
			return
		}
		done(c, comparePath+"/"+c.Param("id"), key)
	}
}

func (s *server) settleComparison(ctx context.Context, id, actor string) error {
	return s.Loop.SettleComparison(ctx, id, s.ProjectID, actor)
}

// closeComparison ends the judging; where the box was ticked the judgements become preference data.
func (s *server) closeComparison(c *gin.Context) {
	settle := c.PostForm("settle") == "yes"
	s.compareAct(func(ctx context.Context, id, actor string) error {
		if err := s.Loop.CloseComparison(ctx, id, actor); err != nil || !settle {
			return err
		}
		return s.settleComparison(ctx, id, actor)
	}, "compareclosed")(c)
}

func (s *server) deleteComparison(c *gin.Context) {
	if err := s.Loop.DeleteComparison(c.Request.Context(), c.Param("id"), actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, comparePath, "comparedeleted")
}

// comparedWith is a comparison as the page of one of its versions shows it.
type comparedWith struct {
	loop.Comparison
	Other, Name string        // the other version and its name
	Win         loop.Estimate // of the version over the other
	Judged      bool
}

// LengthControlled is Win with the length of the answers taken out.
func (v comparedWith) LengthControlled() loop.Estimate {
	return v.Over(v.self(), v.Report.LengthControlled)
}

// RewardJudged is the win rate as the reward model judges the prompts that people judged; nil where none did.
func (v comparedWith) RewardJudged() *loop.Estimate {
	if v.Report.RewardJudged == nil {
		return nil
	}
	e := v.Over(v.self(), *v.Report.RewardJudged)
	return &e
}

// self is the version whose comparison it is.
func (v comparedWith) self() string { return v.Comparison.Other(v.Other) }

// comparedWith lists the comparisons of a version, with one other version alone where that is not empty.
func (s *server) comparedWith(ctx context.Context, id, other string) (out []comparedWith, err error) {
	if id == "" {
		return nil, nil
	}
	list, err := s.Loop.Comparisons(ctx, id, 50)
	if err != nil {
		return nil, err
	}
	names, err := s.contenders(ctx, list)
	for _, v := range list {
		o := v.Other(id)
		if other != "" && o != other {
			continue
		}
		win, judged := v.WinOf(id)
		out = append(out, comparedWith{v, o, names[o], win, judged})
	}
	return out, err
}

// pairsShown is how many pairs a page shows.
const pairsShown = 20

type comparePairsData struct {
	loop.Comparison
	Names  map[string]string // of versions
	People map[string]string // of labelers, by id
	List   []loop.ComparePair
	Older  int // where the page before begins; -1: none
	Newer  int // where the next page begins; 0: none
}

// comparePairsPage shows what was said, whose it was and how it was judged, once the comparison is closed.
func (s *server) comparePairsPage(c *gin.Context) {
	ctx := c.Request.Context()
	from, err := strconv.Atoi(cmp.Or(c.Query("from"), "0"))
	if err != nil || from < 0 || from > 1<<30 {
		s.fail(c, bad("from", "must be a whole number from 0"))
		return
	}
	v, err := s.Loop.Comparison(ctx, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	d := comparePairsData{Comparison: v, Older: -1}
	if d.List, err = s.Loop.ComparePairs(ctx, v, from, pairsShown); err == nil {
		d.Names, err = s.contenders(ctx, []loop.Comparison{v})
	}
	if err == nil {
		d.People, err = s.labelerNames(ctx)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if from > 0 {
		d.Older = max(0, from-pairsShown)
	}
	if from+pairsShown < v.Pairs {
		d.Newer = from + pairsShown
	}
	s.render(c, http.StatusOK, "compare_pairs", view{Title: s.say(c, "Comparison %d", v.Number), Nav: "models", Data: d})
}

// exportComparison answers with a file of all pairs and votes.
func (s *server) exportComparison(kind string, write func(loop.Comparison, []loop.ComparePair) ([]byte, error)) gin.HandlerFunc {
	return func(c *gin.Context) {
		v, err := s.Loop.Comparison(c.Request.Context(), c.Param("id"))
		var list []loop.ComparePair
		if err == nil {
			list, err = s.Loop.ComparePairs(c.Request.Context(), v, 0, v.Pairs)
		}
		var file []byte
		if err == nil {
			file, err = write(v, list)
		}
		if err != nil {
			s.fail(c, err)
			return
		}
		ending := c.FullPath()[strings.LastIndex(c.FullPath(), "."):]
		c.Header("Content-Disposition", fmt.Sprintf(`attachment; filename="comparison-%d%s"`, v.Number, ending))
		c.Data(http.StatusOK, kind, file)
	}
}
