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
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/lang"
)

//go:embed templates
var templateFS embed.FS

// view is what every page is given; Data is the page's own.
type view struct {
	Title string        // an English sentence of the catalogue, or a name
	Nav   string        // the entry of the menu that is lit
	User  *account.User // nil: not signed in
	Note  string        // one fixed sentence on top: what has just been done
	Data  any
	look
}

// parsed keeps the pages of each version and language that this process has parsed: some tens of megabytes, and all that they are parsed
// from is in the program.
var parsed sync.Map

// pagesOf are the pages in a language, parsed once a process.
func pagesOf(version string, assets map[string]asset, speaks lang.Languages, l *lang.Language) (map[string]*template.Template, error) {
	once, _ := parsed.LoadOrStore(version+" "+l.Tag, sync.OnceValues(func() (map[string]*template.Template, error) {
		return loadPages(version, assets, speaks, l)
	}))
	return once.(func() (map[string]*template.Template, error))()
}

// loadPages parses each page together with the layout and the parts that pages share, to be read in one language.
func loadPages(version string, assets map[string]asset, speaks lang.Languages, l *lang.Language) (map[string]*template.Template, error) {
	descriptions, err := described(l)
	if err != nil {
		return nil, err
	}
	funcs := template.FuncMap{
		"described": descriptions,
		"asset": func(name string) (string, error) {
			a, ok := assets["/"+name]
			if !ok {
				return "", fmt.Errorf("no static file %s", name)
			}
			return "/static/" + name + "?v=" + a.hash, nil
		},
		"version": func() string { return version },
		"lang":    func() *lang.Language { return l },
		"others": func() lang.Languages { // the languages to switch to
			return slices.DeleteFunc(slices.Clone(speaks), func(o *lang.Language) bool { return o == l })
		},
		"t":       l.T,     // a sentence, with its values
		"tn":      l.TN,    // one that counts
		"th":      l.HTML,  // one with marks in it
		"found":   l.Found, // one that another room wrote
		"visible": labeling.Visible,
		"why":     func(err error) string { return labeling.Visible(why(l, err)) },
		"short":   short,
		"who":     who,
		"ago":     l.Time,
		"day":     l.Date,
		"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"num":     num,
		"grouped": grouped,
		"many":    func(n int) string { return grouped(int64(n)) },
		"pct":     l.Percent,
		"est":     est,
		"estpct":  func(e loop.Estimate) string { return estpct(l, e) },
		"secs":    l.Duration,
		"percent": func(done, total int) int { return int(100 * float64(done) / float64(max(1, total))) },
		"ms":      func(ms int64) float64 { return float64(ms) / 1000 },
		"clip":    func(s string) string { return clipRunes(s, 300) },
		"add":     func(a, b int) int { return a + b },
		"add64":   func(a *int64, b int64) int64 { return *a + b },
		"device":  func(agent string) string { return device(l, agent) },
		"zones":   func() []string { return timeZones },
		"columns": columnPlot,
		"dots":    dotPlot,
		"lines":   linePlot,
		"pair":    func(a, b any) [2]any { return [2]any{a, b} },
		"about":   func(d time.Duration) string { return about(l, d) },
		"alarm":   func(rule string) string { return named(l, alarmNames, rule) },
		"piles":   stackPlot,

		"compareDots": compareDots,
		"reward":      func(v *float64) string { return num(*v) },

		"lineage": func(line []registry.Ancestor, title, desc, snapshot string) template.HTML {
			return lineageGraph(func(k string) string { return named(l, kindNames, k) }, line, title, desc, snapshot)
		},
		"guard":  func(g string) string { return named(l, guardNames, g) },
		"canary": func(state string) string { return named(l, canaryNames, state) },
		"figure": func(v registry.Verdict, x float64) string { return figure(l, v, x) },
		"steps":  canaryPlot,
		"guards": func(id, title, desc string, list []registry.Verdict, allowed string) template.HTML {
			return guardPlot(l, id, title, desc, allowed, list)
		},
		"stage":    func(s loop.Stage) string { return l.T(string(stageNames[s])) },
		"part":     func(p loop.Stage) string { return named(l, partNames, p) },
		"parthelp": func(p loop.Stage) string { return named(l, partHelp, p) },
		"step": func(id string) string {
			return l.T(string(wizardSteps[max(0, stepAt(id))].Name))
		},
		"mega":     func(bytes int64) string { return num(float64(bytes) / (1 << 20)) },
		"zoned":    func(t time.Time, zone *time.Location) string { return t.In(zone).Format("2006-01-02 15:04 MST") },
		"next":     func(s loop.Schedule) []time.Time { return s.Next(time.Now(), nextRuns) },
		"role":     func(r account.Role) string { return named(l, roleNames, r) },
		"measured": func(kind string, metrics map[string]float64) []figureLine { return modelFigures(l, kind, metrics) },
		"word":     func(v any) string { return named(l, words, fmt.Sprint(v)) },
		"scope":    func(name string) string { return named(l, scopeNames, name) },
		"keystate": func(k account.KeyState) string { return named(l, keyStates, k) },
		"raised":   func(kind string) string { return named(l, alarmKinds, kind) },
		"table":    func(name string) string { return named(l, tableNames, name) },
		"pii":      func(k string) string { return named(l, piiNames, k) },
		"fault":    func(f string) string { return named(l, faultNames, f) },
		"kind":     func(k string) string { return named(l, kindNames, k) },
		"flag":     func(f string) string { return named(l, flagLabels, f) },
		"counted":  func(p loop.Progress) string { return counted(l, p) },
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

// render answers with a page.
func (s *server) render(c *gin.Context, code int, page string, v view) {
	body, err := s.page(c, page, v)
	if err != nil {
		s.fail(c, fmt.Errorf("page %s: %w", page, err))
		return
	}
	c.Data(code, "text/html; charset=utf-8", body)
}

// page writes a page as its reader likes it.
func (s *server) page(c *gin.Context, page string, v view) ([]byte, error) {
	if u, ok := c.Get(userKey); ok {
		u := u.(account.User)
		v.User = &u
	}
	v.look = s.lookOf(c)
	l := s.language(c)
	c.Header("Content-Language", l.Tag)
	var b bytes.Buffer
	err := s.pages[l.Tag][page].Execute(&b, v)
	return b.Bytes(), err
}

// errorPage is where errors of pages end; it must not fail itself.
func (s *server) errorPage(c *gin.Context, p *problem) {
	body, err := s.page(c, "error", view{Title: p.Title, Data: struct {
		*problem
		RequestID string
	}{p, requestID(c.Request)}})
	if err != nil {
		s.Log.Error("error page", "error", err)
		c.String(p.Status, "%s\n", p.Title)
		return
	}
	c.Data(p.Status, "text/html; charset=utf-8", body)
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
	return status(http.StatusMethodNotAllowed, fmt.Sprintf("this address does not take %s", methodName(c.Request.Method)))
}

// methodName keeps invented methods out of pages.
func methodName(m string) string {
	switch m {
	case get, post, put, http.MethodHead, http.MethodDelete, http.MethodPatch, http.MethodOptions:
		return m
	}
	return "?"
}

// done redirects after a form was carried out; note is a key of notes.
func done(c *gin.Context, path, note string) {
	if note != "" {
		sign := "?"
		if strings.Contains(path, "?") {
			sign = "&"
		}
		path += sign + "done=" + url.QueryEscape(note)
	}
	c.Redirect(http.StatusSeeOther, path)
}

// notes are the sentences that a page may open with. The address carries only the key, never text.
var notes = map[string]sentence{
	"cancelled":   "The round is cancelled.",
	"compared":    "Both versions answer now. Judging begins when they are done.",
	"looked":      "The result so far is shown. It is marked as looked at early from now on.",
	"reopened":    "The comparison goes on.",
	"settled":     "The judgements are preference data now.",
	"setup":       "The setup is saved.",
	"setupless":   "The setup is removed.",
	"overridden":  "The round goes on; your reason is written down.",
	"consented":   "Prompts of this key may be trained on from now on.",
	"confirmed":   "Confirmed: the original is gone.",
	"declined":    "The policy was declined; the former one goes on serving.",
	"disabled":    "The account is disabled and signed out everywhere.",
	"enabled":     "The account is enabled.",
	"engine":      "The engine's settings are saved.",
	"engineless":  "The engine is removed.",
	"cord":        "The training is stopped. An admin looks at it.",
	"cordoff":     "The training goes on.",
	"decided":     "Decided.",
	"quarantined": "The labeler is in quarantine; the tasks are in the queue again.",
	"restored":    "The labeler may work again.",
	"gold":        "The task is a gold task.",
	"settings":    "The settings are changed.",
	"ended":       "You are signed out everywhere else.",
	"linked":      "From now on you can sign in by it too.",
	"unlinked":    "It signs you in no more, and the sessions that it opened are over.",
	"session":     "The session is ended.",
	"sessions":    "The person is signed out everywhere.",
	"ordered":     "The serving policy answers the prompts now; tasks appear as they are ready.",
	"password":    "The password is changed, and all your other sessions are over.",
	"proceeding":  "The round goes on with the rankings it has.",
	"paused":      "The round is paused.",
	"resumed":     "The round goes on.",
	"retried":     "The round tries the stage again.",
	"promoted":    "Promoted. Answers under way finish on the former weights.",
	"released":    "The task is back in the queue.",
	"erased":      "Erased. The report is below.",
	"removed":     "The webhook is removed.",
	"replayed":    "The event will be sent again.",
	"revoked":     "The key is revoked.",
	"role":        "The role is changed, and the person signed out everywhere.",
	"rolledback":  "Rolled back to the version that served before.",
	"saved":       "The settings are saved.",
	"scheduled":   "The schedule is added.",
	"sent":        "A test event is on its way.",
	"snapshot":    "The snapshot is made.",
	"signedout":   "You are signed out.",
	"started":     "The round has started.",
	"switched":    "The schedule is changed.",
	"uninvited":   "The link is revoked and works no more.",
	"undone":      "Undone: the prompt is served as it came.",
	"uploaded":    "The file is here and will be imported.",
	"unscheduled": "The schedule is removed.",
	"keychanged":  "The key is changed; the next request meets it.",
	"known":       "This prompt is in the pool already. An answer to it was kept.",
	"withdrawn":   "Withdrawn: what was sent with this key is hidden, and nothing further is taken.",
	"written":     "The prompt is in the pool. Thank you.",
	"cased":       "The use case is added.",
	"retired":     "The use case is retired.",

	"canary":        "The canary has begun.",
	"advanced":      "The canary has moved on.",
	"canarypaused":  "The canary stays at its share until it is resumed.",
	"canaryresumed": "The canary goes on.",
	"aborted":       "The canary is aborted: what serves answers everybody again.",
	"planned":       "The promotion is planned.",
	"unplanned":     "The planned promotion is cancelled.",

	"compareclosed":  "The comparison is closed: the names are shown.",
	"comparedeleted": "The comparison is deleted.",
}

func note(c *gin.Context) string { return string(notes[c.Query("done")]) }

var stageNames = map[loop.Stage]sentence{
	loop.StageSFT:    "Training the supervised policy",
	loop.StageSample: "Sampling answers", loop.StageRank: "Waiting for rankings", loop.StageReward: "Training the reward model",
	loop.StagePPO: "Training the policy (PPO)", loop.StageEvaluate: "Evaluating", loop.StageDecide: "Waiting for a decision",
	loop.StageDone: "Done", loop.StageFailed: "Failed", loop.StageCancelled: "Cancelled",
}

var roleNames = map[account.Role]sentence{
	account.RoleLabeler: "labeler", account.RoleReviewer: "reviewer", account.RoleAnalyst: "analyst", account.RoleCustomer: "customer", account.RoleAdmin: "admin", account.RoleOwner: "owner",
}

var kindNames = map[string]sentence{
	registry.Base: "base model", registry.SFT: "SFT model", registry.Reward: "reward model", registry.Policy: "policy", registry.Value: "value model",
}

// progressOf is how far a stage is, by what it counts.
var progressOf = map[string]sentence{
	"training steps": "%d of %d training steps", "prompts answered": "%d of %d prompts answered", "rankings": "%d of %d rankings", "reward steps": "%d of %d reward steps",
	"PPO steps": "%d of %d PPO steps", "prompt chunks": "%d of %d prompt chunks", "judgements": "%d of %d judgements",
}

// counted says how far a stage is; empty where there is nothing to count yet.
func counted(l *lang.Language, p loop.Progress) string {
	if p.Total == 0 {
		return ""
	}
	return l.T(string(progressOf[p.Unit]), p.Done, p.Total)
}

// named is the name of a value in the reader's language; one that has none is shown as it is.
func named[K ~string](l *lang.Language, names map[K]sentence, v K) string {
	if n, ok := names[v]; ok {
		return l.T(string(n))
	}
	return string(v)
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

// num has four digits that count; whole thousands are grouped, as English and Chinese both do.
func num(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	if math.Abs(v) >= 1000 && math.Abs(v) < 1e9 {
		return grouped(int64(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// grouped writes thousands apart.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func est(e loop.Estimate) string {
	if e.N == 0 && e.Value == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", e.Value, e.Low, e.High)
}

func estpct(l *lang.Language, e loop.Estimate) string {
	if e.N == 0 && e.Value == 0 {
		return "–"
	}
	return fmt.Sprintf("%s [%.1f, %.1f]", l.Percent(e.Value), 100*e.Low, 100*e.High)
}
