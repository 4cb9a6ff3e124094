package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/setting"
)

// projectPages are the settings of labeling projects.
func (s *server) projectPages() {
	s.route(admins, get, "/admin/projects", s.projectsPage)
	s.route(admins, post, "/admin/projects", s.createProject)
	s.route(admins, get, "/admin/projects/:id", s.projectPage)
	s.route(admins, post, "/admin/projects/:id", s.saveProject)
	s.route(admins, get, "/admin/projects/:id/guidelines", s.guidelinesPage)
	s.route(admins, post, "/admin/projects/:id/tasks", s.orderTasks)
	s.route(admins, post, "/admin/projects/:id/cases", s.addCase)
	s.route(admins, post, "/admin/projects/:id/cases/:case/retire", s.retireCase)
}

// questionChoice is a question type in a menu.
type questionChoice struct {
	Name, Title        string
	Least, Most, Usual int // answers
}

func questionChoices() []questionChoice {
	var list []questionChoice
	for _, name := range labeling.QuestionNames() {
		q := questionChoice{Name: name, Title: string(questionTitles[name])}
		q.Least, q.Most, q.Usual, _ = labeling.AnswerCount(name)
		list = append(list, q)
	}
	return list
}

type projectsData struct {
	Projects  []labeling.Project
	Titles    map[string]string // of question types
	Questions []questionChoice
	Default   string           // id of the project of rounds
	New       labeling.Project // as sent, where it was refused
	Error     string
}

func (s *server) projectsPage(c *gin.Context) {
	s.showAllProjects(c, http.StatusOK, labeling.Project{Overlap: s.Settings.Int(setting.ProjectOverlap), PromptCap: s.Settings.Int(setting.ProjectCap), ValidShare: 0.125, Lease: 30 * time.Minute}, "")
}

func (s *server) showAllProjects(c *gin.Context, code int, p labeling.Project, wrong string) {
	d := projectsData{Questions: questionChoices(), Titles: map[string]string{}, Default: s.ProjectID, New: p, Error: wrong}
	for _, q := range d.Questions {
		d.Titles[q.Name] = q.Title
	}
	var err error
	if d.Projects, err = s.Labeling.Projects(c.Request.Context()); err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, code, "admin_projects", view{Title: "Projects", Nav: "projects", Note: note(c), Data: d})
}

// projectForm reads the settings that both forms have into p.
func projectForm(c *gin.Context, p *labeling.Project) error {
	if err := parseForm(c); err != nil {
		return err
	}
	number := func(name string, at *int) error {
		v, err := formValue(c, name, 20)
		if err != nil || v == "" {
			return err // what is left empty takes the usual value
		}
		if *at, err = strconv.Atoi(v); err != nil {
			return bad(name, "must be a whole number")
		}
		return nil
	}
	minutes := int(p.Lease / time.Minute)
	for name, at := range map[string]*int{"k": &p.K, "overlap": &p.Overlap, "prompt_cap": &p.PromptCap, "lease": &minutes} {
		if err := number(name, at); err != nil {
			return err
		}
	}
	if minutes < 1 || minutes > 24*60 {
		return bad("lease", "must be 1 to 1440 minutes")
	}
	p.Lease = time.Duration(minutes) * time.Minute
	languages, err := formValue(c, "languages", 1000)
	if err != nil {
		return err
	}
	p.Languages = strings.FieldsFunc(languages, func(r rune) bool { return r == ',' || r == ' ' || r == ';' })
	if p.Instructions, err = formValue(c, "instructions", maxBodyPage); err != nil {
		return err
	}
	p.Instructions = strings.ReplaceAll(p.Instructions, "\r\n", "\n")
	return nil
}

func (s *server) createProject(c *gin.Context) {
	p := labeling.Project{Overlap: s.Settings.Int(setting.ProjectOverlap), PromptCap: s.Settings.Int(setting.ProjectCap), Lease: 30 * time.Minute}
	err := projectForm(c, &p)
	if err == nil {
		p.Name, err = formValue(c, "name", 1000)
	}
	if err == nil {
		p.Question, err = formValue(c, "question", 100)
	}
	for name, at := range map[string]*float64{"valid_share": &p.ValidShare, "test_share": &p.TestShare} {
		if v := c.PostForm(name); err == nil && v != "" {
			if *at, err = strconv.ParseFloat(v, 64); err != nil {
				err = bad(name, "must be a number such as 0.125")
			}
		}
	}
	var made labeling.Project
	if err == nil {
		p.Name = strings.TrimSpace(p.Name)
		made, err = s.Labeling.CreateProject(c.Request.Context(), p, actor(c))
	}
	if err != nil {
		if wrong := s.mendable(c, err); wrong != nil {
			s.showAllProjects(c, wrong.Status, p, wrong.Detail)
		}
		return
	}
	done(c, "/admin/projects/"+made.ID, "saved")
}

// mendable is the problem that a form is shown again with; an error of another kind is answered here, and nil.
func (s *server) mendable(c *gin.Context, err error) *problem {
	p, known := problemOf(err)
	if !known || p.Status >= 500 || p.Status == http.StatusNotFound {
		s.fail(c, err)
		return nil
	}
	return p
}

type projectData struct {
	Project  labeling.Project
	Question questionChoice
	Default  bool // rounds belong to it
	Cases    []labeling.UseCase
	Versions []labeling.Guideline
	Open     int // tasks with an open slot, up to OpenLimit
	Error    string
}

func (s *server) projectPage(c *gin.Context) {
	p, err := s.Labeling.Project(c.Request.Context(), c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.showProject(c, http.StatusOK, p, "")
}

func (s *server) showProject(c *gin.Context, code int, p labeling.Project, wrong string) {
	d := projectData{Project: p, Default: p.ID == s.ProjectID, Error: wrong}
	for _, q := range questionChoices() {
		if q.Name == p.Question {
			d.Question = q
		}
	}
	progress, err := s.Labeling.Progress(c.Request.Context(), p.ID, user(c).ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	d.Open = progress.Open
	if d.Cases, err = s.Labeling.UseCases(c.Request.Context(), p.ID); err != nil {
		s.fail(c, err)
		return
	}
	if d.Versions, err = s.Labeling.Guidelines(c.Request.Context(), p.ID); err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, code, "admin_project", view{Title: p.Name, Nav: "projects", Note: note(c), Data: d})
}

func (s *server) saveProject(c *gin.Context) {
	p, err := s.Labeling.Project(c.Request.Context(), c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	err = projectForm(c, &p)
	if p.Closed = c.PostForm("closed") == "yes"; err == nil && p.Closed && p.ID == s.ProjectID {
		err = bad("closed", "is not possible for the project that rounds belong to")
	}
	if err == nil {
		_, err = s.Labeling.UpdateProject(c.Request.Context(), p, actor(c), s.AfterSubmit)
	}
	if err != nil {
		if wrong := s.mendable(c, err); wrong != nil {
			s.showProject(c, wrong.Status, p, wrong.Detail)
		}
		return
	}
	done(c, "/admin/projects/"+p.ID, "saved")
}

type guidelinesData struct {
	Project  labeling.Project
	Versions []labeling.Guideline // newest first
	From, To labeling.Guideline
	Lines    []diffLine
}

// guidelinesPage shows what changed between two versions: ?from=1&to=2, by default the last change.
func (s *server) guidelinesPage(c *gin.Context) {
	p, err := s.Labeling.Project(c.Request.Context(), c.Param("id"))
	d := guidelinesData{Project: p}
	if err == nil {
		d.Versions, err = s.Labeling.Guidelines(c.Request.Context(), p.ID)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	version := func(name string, usual int) (labeling.Guideline, error) {
		if v := c.Query(name); v != "" {
			if usual, err = strconv.Atoi(v); err != nil {
				return labeling.Guideline{}, bad(name, "must be a version's number")
			}
		}
		for _, g := range d.Versions {
			if g.Version == usual {
				return g, nil
			}
		}
		return labeling.Guideline{}, status(http.StatusNotFound, fmt.Sprintf("there is no version %d", usual))
	}
	if d.To, err = version("to", p.Guideline); err == nil {
		d.From, err = version("from", max(1, d.To.Version-1))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	d.Lines = diffLines(d.From.Body, d.To.Body)
	s.render(c, http.StatusOK, "admin_guidelines", view{Title: "Versions of the instructions", Nav: "projects", Data: d})
}

// orderTasks lets the serving policy answer prompts of the project.
func (s *server) orderTasks(c *gin.Context) {
	n, err := strconv.Atoi(c.PostForm("prompts"))
	if err != nil {
		s.fail(c, bad("prompts", "must be a whole number"))
		return
	}
	if err := s.Loop.OrderTasks(c.Request.Context(), c.Param("id"), n, actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/projects/"+c.Param("id"), "ordered")
}

func (s *server) addCase(c *gin.Context) {
	err := parseForm(c)
	var body string
	if err == nil {
		body, err = formValue(c, "case", 10_000)
	}
	if err == nil {
		_, err = s.Labeling.AddUseCase(c.Request.Context(), c.Param("id"), strings.TrimSpace(body), actor(c))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/projects/"+c.Param("id"), "cased")
}

func (s *server) retireCase(c *gin.Context) {
	if err := s.Labeling.RetireUseCase(c.Request.Context(), c.Param("id"), c.Param("case"), actor(c)); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/projects/"+c.Param("id"), "retired")
}
