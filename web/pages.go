package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

//go:embed templates
var templateFS embed.FS

// view is what every page is given; Data is the page's own.
type view struct {
	Title string
	Nav   string        // the entry of the menu that is lit
	User  *account.User // nil: not signed in
	Note  string        // one fixed sentence on top: what has just been done
	Data  any
}

// loadPages parses each page together with the layout and the parts that pages share.
func loadPages(version string) (map[string]*template.Template, error) {
	assets, err := loadAssets()
	if err != nil {
		return nil, err
	}
	funcs := template.FuncMap{
		"asset": func(name string) (string, error) {
			a, ok := assets["/"+name]
			if !ok {
				return "", fmt.Errorf("no static file %s", name)
			}
			return "/static/" + name + "?v=" + a.hash, nil
		},
		"version": func() string { return version },
		"t":       say,
		"visible": labeling.Visible,
		"short":   short,
		"who":     who,
		"ago":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"num":     num,
		"pct":     pct,
		"est":     est,
		"estpct":  estpct,
		"secs":    func(s float64) string { return time.Duration(s * float64(time.Second)).Round(time.Second).String() },
		"percent": func(done, total int) int { return int(100 * float64(done) / float64(max(1, total))) },
		"ms":      func(ms int64) float64 { return float64(ms) / 1000 },
		"clip":    func(s string) string { return clipRunes(s, 300) },
		"add":     func(a, b int) int { return a + b },
		"columns": columnPlot,
		"dots":    dotPlot,
		"stage":   func(s loop.Stage) string { return stageNames[s] },
	}
	names, err := fs.Glob(templateFS, "templates/*.html")
	if err != nil {
		return nil, err
	}
	out := map[string]*template.Template{}
	for _, n := range names {
		if path.Base(n) == "layout.html" {
			continue
		}
		t, err := template.New("layout.html").Funcs(funcs).ParseFS(templateFS, "templates/layout.html", "templates/parts/*.html", n)
		if err != nil {
			return nil, err
		}
		out[strings.TrimSuffix(path.Base(n), ".html")] = t.Option("missingkey=error")
	}
	return out, nil
}

// say is a sentence of a page, with its values filled in as fmt.Sprintf does.
func say(sentence string, values ...any) string {
	if len(values) == 0 {
		return sentence
	}
	return fmt.Sprintf(sentence, values...)
}

// render answers with a page.
func (s *server) render(c *gin.Context, code int, page string, v view) {
	if u, ok := c.Get(userKey); ok {
		u := u.(account.User)
		v.User = &u
	}
	var b bytes.Buffer
	if err := s.pages[page].Execute(&b, v); err != nil {
		s.fail(c, fmt.Errorf("page %s: %w", page, err))
		return
	}
	c.Data(code, "text/html; charset=utf-8", b.Bytes())
}

// errorPage is where errors of pages end; it must not fail itself.
func (s *server) errorPage(c *gin.Context, p *problem) {
	v := view{Title: p.Title, Data: struct {
		*problem
		RequestID string
	}{p, requestID(c.Request)}}
	if u, ok := c.Get(userKey); ok {
		u := u.(account.User)
		v.User = &u
	}
	var b bytes.Buffer
	if err := s.pages["error"].Execute(&b, v); err != nil {
		s.Log.Error("error page", "error", err)
		c.String(p.Status, "%s\n", p.Title)
		return
	}
	c.Data(p.Status, "text/html; charset=utf-8", b.Bytes())
}

func (s *server) unknown(c *gin.Context) error {
	if shapeOf(c.Request) == shapeOpenAI {
		return unknownURL(c)
	}
	return status(http.StatusNotFound, "there is no such page")
}

func (s *server) wrongMethod(c *gin.Context) error {
	if shapeOf(c.Request) == shapeOpenAI {
		return wrongMethodOpenAI(c)
	}
	return status(http.StatusMethodNotAllowed, "this address does not take "+methodName(c.Request.Method))
}

// methodName keeps invented methods out of pages.
func methodName(m string) string {
	switch m {
	case get, post, put, http.MethodHead, http.MethodDelete, http.MethodPatch, http.MethodOptions:
		return m
	}
	return "that method"
}

// done redirects after a form was carried out; note is a key of notes.
func done(c *gin.Context, path, note string) {
	if note != "" {
		path += "?done=" + url.QueryEscape(note)
	}
	c.Redirect(http.StatusSeeOther, path)
}

// notes are the sentences that a page may open with. The address carries only the key, never text.
var notes = map[string]string{
	"cancelled":   "The round is cancelled.",
	"declined":    "The policy was declined; the former one goes on serving.",
	"disabled":    "The account is disabled and signed out everywhere.",
	"enabled":     "The account is enabled.",
	"ended":       "You are signed out everywhere else. Sign in again.",
	"ordered":     "The serving policy answers the prompts now; tasks appear as they are ready.",
	"password":    "The password is changed. Sign in with the new one.",
	"proceeding":  "The round goes on with the rankings it has.",
	"promoted":    "Promoted. Answers under way finish on the former weights.",
	"released":    "The task is back in the queue.",
	"revoked":     "The key is revoked.",
	"role":        "The role is changed, and the person signed out everywhere.",
	"rolledback":  "Rolled back to the version that served before.",
	"saved":       "The settings are saved.",
	"scheduled":   "The schedule is added.",
	"signedout":   "You are signed out.",
	"started":     "The round has started.",
	"switched":    "The schedule is changed.",
	"uninvited":   "The link is revoked and works no more.",
	"unscheduled": "The schedule is removed.",
	"known":       "This prompt is in the pool already. An answer to it was kept.",
	"written":     "The prompt is in the pool. Thank you.",
	"cased":       "The use case is added.",
	"retired":     "The use case is retired.",
}

func note(c *gin.Context) string { return notes[c.Query("done")] }

var stageNames = map[loop.Stage]string{
	loop.StageSample: "Sampling answers", loop.StageRank: "Waiting for rankings", loop.StageReward: "Training the reward model",
	loop.StagePPO: "Training the policy (PPO)", loop.StageEvaluate: "Evaluating", loop.StageDecide: "Waiting for a decision",
	loop.StageDone: "Done", loop.StageFailed: "Failed", loop.StageCancelled: "Cancelled",
}

// who names an actor; one that is no user, or no longer, is shown as it is.
func who(names map[string]string, actor string) string {
	if n, ok := names[actor]; ok {
		return n
	}
	return actor
}

// short is the end of an id: UUIDv7 begin with the time, so their ends tell them apart.
func short(id string) string {
	if len(id) > 8 {
		return id[len(id)-8:]
	}
	return id
}

func num(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func pct(v float64) string { return strconv.FormatFloat(100*v, 'f', 1, 64) + " %" }

func est(e loop.Estimate) string {
	if e.N == 0 && e.Value == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", e.Value, e.Low, e.High)
}

func estpct(e loop.Estimate) string {
	if e.N == 0 && e.Value == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %% [%.1f, %.1f]", 100*e.Value, 100*e.Low, 100*e.High)
}
