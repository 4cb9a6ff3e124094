package web

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/setting"
)

// labelPages are the pages of labelers: one for each question, their projects, their history, their own prompts.
func (s *server) labelPages() {
	s.route(labelers, get, "/label", s.labelPage)
	s.route(labelers, get, "/label/projects", s.pickerPage)
	s.route(labelers, get, "/label/history", s.historyPage)
	s.route(labelers, post, "/label/history/:id/reopen", s.reopenPast)
	s.route(labelers, get, "/label/me", s.mePage)
	s.route(labelers, get, "/label/write", s.writePage)
	s.route(labelers, post, "/label/write", s.writePrompt)
	s.route(labelers, post, "/label/api/acknowledge", s.acknowledge)
}

// questionPages says which template asks a question. A multi-turn ranking is asked by the page of rankings, which gives the
// conversation more room.
var questionPages = map[string]string{
	labeling.QuestionRanking:       "label",
	labeling.QuestionPairwise:      "pairwise",
	labeling.QuestionRating:        "rating",
	labeling.QuestionEdit:          "edit",
	labeling.QuestionDemonstration: "demonstration",
	labeling.QuestionMultiturn:     "label",
}

var questionTitles = map[string]sentence{
	labeling.QuestionRanking:       "Rank answers",
	labeling.QuestionPairwise:      "Compare two answers",
	labeling.QuestionRating:        "Rate an answer",
	labeling.QuestionEdit:          "Improve an answer",
	labeling.QuestionDemonstration: "Write the ideal answer",
	labeling.QuestionMultiturn:     "Rank replies in a conversation",
}

type labelData struct {
	Project   labeling.Project
	Several   bool // there are other projects to change to
	Flags     []flag
	OpenLimit int
	Compare   []labeling.Project // other ones in which two models are compared and something is open
}

// flag is a flag as the page shows it; Letter is the key that sets it.
type flag struct{ Key, Label, Letter string }

var flagLabels = map[string]sentence{
	"instruction": "Does not follow the instruction", "inappropriate": "Not fit for an assistant", "hallucination": "States what is not so",
	"harmful": "Encourages harm", "sexual": "Sexual", "violent": "Violent", "denigrates": "Denigrates people", "opinion": "Judges where it should not",
	"identity": "Names its model or maker", "pii": "Personal data (holds the task back)", "unsafe": "Unsafe to show (holds the task back)",
}

// flagLetters are the keys of the flags; no two are the same.
var flagLetters = map[string]string{
	"instruction": "i", "inappropriate": "a", "hallucination": "h", "harmful": "e", "sexual": "s", "violent": "v",
	"denigrates": "d", "opinion": "o", "identity": "m", "pii": "p", "unsafe": "u",
}

func flagList() []flag {
	var list []flag
	for _, f := range labeling.Flags {
		list = append(list, flag{f, cmp.Or(string(flagLabels[f]), f), flagLetters[f]})
	}
	return list
}

// projectCookie remembers which project somebody labels for.
const projectCookie = "rl_project"

// openProject is a project that labelers may work in.
func (s *server) openProject(c *gin.Context, id string) (labeling.Project, error) {
	p, err := s.Labeling.Project(c.Request.Context(), id)
	if err == nil && p.Closed {
		err = labeling.ErrNotFound
	}
	return p, err
}

// projects says which open project a page is for: the one in the address, the one remembered, or the only one. chosen is
// nil where the person has to say.
func (s *server) projects(c *gin.Context) (chosen *labeling.Project, all []labeling.Project, err error) {
	if all, err = s.Labeling.OpenProjects(c.Request.Context()); err != nil {
		return nil, nil, err
	}
	at := func(id string) int {
		return slices.IndexFunc(all, func(p labeling.Project) bool { return p.ID == id })
	}
	if id := c.Query("project"); id != "" {
		i := at(id)
		if i < 0 {
			return nil, nil, labeling.ErrNotFound
		}
		http.SetCookie(c.Writer, &http.Cookie{Name: projectCookie, Value: id, Path: "/label", MaxAge: int((365 * 24 * time.Hour).Seconds()),
			HttpOnly: true, Secure: s.HTTPS, SameSite: http.SameSiteLaxMode})
		return &all[i], all, nil
	}
	if cookie, err := c.Request.Cookie(projectCookie); err == nil {
		if i := at(cookie.Value); i >= 0 {
			return &all[i], all, nil
		}
	}
	if all = listed(all); len(all) == 1 {
		return &all[0], all, nil
	}
	return nil, all, nil
}

// listed are the projects to choose from: a comparison for people in the room is for who has its address.
func listed(all []labeling.Project) []labeling.Project {
	return slices.DeleteFunc(slices.Clone(all), func(p labeling.Project) bool { return p.Comparison == labeling.CompareRoom })
}

func (s *server) labelPage(c *gin.Context) {
	p, all, err := s.projects(c)
	switch {
	case err != nil:
		s.fail(c, err)
	case p == nil:
		s.showProjects(c, all)
	default:
		compare, err := s.comparedElsewhere(c, *p, all)
		if err != nil {
			s.fail(c, err)
			return
		}
		s.render(c, http.StatusOK, questionPages[p.Question], view{Title: string(questionTitles[p.Question]), Nav: "label", Note: note(c), Data: labelData{Project: *p, Several: len(listed(all)) > 1, Flags: flagList(),
			OpenLimit: labeling.OpenLimit, Compare: compare}})
	}
}

// comparedElsewhere are the comparisons that wait for labelers beside the project on the page.
func (s *server) comparedElsewhere(c *gin.Context, here labeling.Project, all []labeling.Project) (out []labeling.Project, err error) {
	for _, p := range all {
		if p.Comparison != labeling.CompareLabelers || p.ID == here.ID {
			continue
		}
		open, err := s.Labeling.Open(c.Request.Context(), p.ID)
		if err != nil {
			return nil, err
		}
		if open > 0 {
			out = append(out, p)
		}
	}
	return out, nil
}

// projectChoice is a project in the list to choose from.
type projectChoice struct {
	labeling.Project
	Asks     string // what is asked
	Progress labeling.Progress
}

func (s *server) pickerPage(c *gin.Context) {
	all, err := s.Labeling.OpenProjects(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	s.showProjects(c, listed(all))
}

func (s *server) showProjects(c *gin.Context, all []labeling.Project) {
	var list []projectChoice
	for _, p := range all {
		progress, err := s.Labeling.Progress(c.Request.Context(), p.ID, user(c).ID)
		if err != nil {
			s.fail(c, err)
			return
		}
		list = append(list, projectChoice{p, string(questionTitles[p.Question]), progress})
	}
	s.render(c, http.StatusOK, "projects", view{Title: "Choose a project", Nav: "label", Data: list})
}

// historySize is how many pieces of past work a page lists.
const historySize = 50

type historyData struct {
	Project labeling.Project
	Several bool
	Work    []pastWork
	Older   string // the ranking to go on before; "": no more
}

type pastWork struct {
	labeling.PastWork
	Prompt string // the last message
	Result string // such as "B > A = D"
}

func (s *server) historyPage(c *gin.Context) {
	p, all, err := s.projects(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	if p == nil {
		s.showProjects(c, all)
		return
	}
	before, err := textParam(c.Query("before"))
	if err != nil {
		s.fail(c, err)
		return
	}
	list, err := s.Labeling.History(c.Request.Context(), p.ID, user(c).ID, before, historySize)
	if err != nil {
		s.fail(c, err)
		return
	}
	d := historyData{Project: *p, Several: len(all) > 1}
	for _, w := range list {
		d.Work = append(d.Work, pastWork{w, w.Messages[len(w.Messages)-1].Content, result(p.Question, w)})
	}
	if len(list) == historySize {
		d.Older = list[len(list)-1].ID
	}
	s.render(c, http.StatusOK, "history", view{Title: "My work", Nav: "label", Note: note(c), Data: d})
}

// result is what was submitted, in signs that need no translation.
func result(question string, w labeling.PastWork) string {
	switch question {
	case labeling.QuestionRating:
		return fmt.Sprintf("%d / 7", w.Ratings[0])
	case labeling.QuestionEdit, labeling.QuestionDemonstration:
		return w.Text
	}
	order := ranksText(w.Ranks)
	if w.Strength > 0 {
		order += fmt.Sprintf(" (%d / 4)", w.Strength)
	}
	return order
}

// ranksText writes ranks of A, B, ... as "B > A = D".
func ranksText(ranks []int) string {
	at := make([]int, len(ranks))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(i, j int) int { return cmp.Compare(ranks[i], ranks[j]) })
	var b strings.Builder
	for n, i := range at {
		if n > 0 {
			b.WriteString(map[bool]string{true: " = ", false: " > "}[ranks[i] == ranks[at[n-1]]])
		}
		b.WriteByte(byte('A' + i))
	}
	return b.String()
}

// reopenPast takes up past work; the labeling page then shows it before anything new.
func (s *server) reopenPast(c *gin.Context) {
	if s.limited(c, s.labels, s.Settings.Int(setting.LabelsPerMinute)) {
		return
	}
	a, err := s.Labeling.ReopenAssignment(c.Request.Context(), c.Param("id"), user(c).ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Redirect(http.StatusSeeOther, "/label?project="+url.QueryEscape(a.ProjectID))
}

// fewShotRows is how many pairs the page of prompts has room for.
const fewShotRows = 8

type writeData struct {
	Project labeling.Project
	Several bool
	Kinds   []string
	Cases   []labeling.UseCase
	Written labeling.WrittenPrompt // as sent, where it was refused
	Pairs   []labeling.Pair        // fewShotRows of them
	Error   string
}

func (s *server) writePage(c *gin.Context) {
	p, all, err := s.projects(c)
	switch {
	case err != nil:
		s.fail(c, err)
	case p == nil:
		s.showProjects(c, all)
	default:
		kind := c.Query("kind")
		if !slices.Contains(labeling.PromptKinds, kind) {
			kind = labeling.KindPlain
		}
		s.showWrite(c, http.StatusOK, *p, len(all) > 1, labeling.WrittenPrompt{Kind: kind}, "")
	}
}

func (s *server) showWrite(c *gin.Context, code int, p labeling.Project, several bool, w labeling.WrittenPrompt, wrong string) {
	cases, err := s.Labeling.UseCases(c.Request.Context(), p.ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	d := writeData{Project: p, Several: several, Kinds: labeling.PromptKinds, Written: w, Error: wrong, Pairs: make([]labeling.Pair, fewShotRows)}
	copy(d.Pairs, w.Pairs)
	for _, u := range cases {
		if !u.Retired {
			d.Cases = append(d.Cases, u)
		}
	}
	s.render(c, code, "write", view{Title: "Write a prompt", Nav: "label", Note: note(c), Data: d})
}

func (s *server) writePrompt(c *gin.Context) {
	if s.limited(c, s.labels, s.Settings.Int(setting.LabelsPerMinute)) {
		return
	}
	w, err := writtenForm(c)
	w.LabelerID = user(c).ID
	var p labeling.Project
	if err == nil {
		p, err = s.openProject(c, w.ProjectID)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	_, created, err := s.Labeling.WritePrompt(c.Request.Context(), w)
	if err != nil {
		wrong, known := problemOf(err)
		if !known || wrong.Status >= 500 {
			s.fail(c, err)
			return
		}
		s.showWrite(c, wrong.Status, p, false, w, wrong.Detail)
		return
	}
	what := "written"
	if !created {
		what = "known"
	}
	done(c, "/label/write", what)
}

// writtenForm reads a prompt from the form; rows of pairs that are quite empty are left out.
func writtenForm(c *gin.Context) (w labeling.WrittenPrompt, err error) {
	err = parseForm(c)
	get := func(name string, at *string) {
		if err == nil {
			*at, err = formValue(c, name, maxBodyPage)
			*at = strings.ReplaceAll(*at, "\r\n", "\n") // as forms send line ends
		}
	}
	get("project", &w.ProjectID)
	get("kind", &w.Kind)
	get("language", &w.Language)
	get("text", &w.Text)
	get("answer", &w.Answer)
	if strings.TrimSpace(w.Answer) == "" {
		w.Answer = ""
	}
	switch w.Kind { // the other kinds' fields are on the page too
	case labeling.KindUserBased:
		get("case", &w.UseCaseID)
	case labeling.KindFewShot:
		get("query", &w.Query)
		for i := range fewShotRows {
			var p labeling.Pair
			get("query"+strconv.Itoa(i), &p.Query)
			get("answer"+strconv.Itoa(i), &p.Answer)
			if p.Query != "" || p.Answer != "" {
				w.Pairs = append(w.Pairs, p)
			}
		}
	}
	return w, err
}
