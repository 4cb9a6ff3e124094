package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/lang"
)

func (s *server) liveRoutes() {
	s.stream(readers, get, "/admin/api/rounds/:id/events", s.roundEvents)
	s.route(readers, get, "/admin/api/rounds/:id/curves", s.roundCurves)
	s.route(readers, get, "/admin/rounds/:id/curves.csv", s.roundCSV)
	s.route(readers, get, "/admin/rounds/:id/samples", s.samplesPage)
	s.route(admins, post, "/admin/rounds/:id/answer", s.answerAlarm)
}

// alarmNames say what a rule looks at.
var alarmNames = map[string]sentence{
	loop.RuleKL: "The policy has left the supervised one", loop.RuleNegativeKL: "The KL is negative", loop.RuleLength: "The length of answers drifts",
	loop.RuleRepetition: "Answers repeat themselves", loop.RuleEntropy: "The policy says the same to everything", loop.RuleRatio: "The policy ran away from the one that sampled",
	loop.RuleNotFinite: "A figure is not finite",
}

// alarmKinds say what raised an alarm.
var alarmKinds = map[string]sentence{
	"alarm": "Alarm", "cord": "Andon cord", "canary": "Canary", "gate": "Gate", "promotion": "Promotion", "run": "Training", "schedule": "Schedule",
	"stale": "Stale reward model",
}

// curvesData are the charts of a round.
type curvesData struct {
	First, Others []curveFigure
}

// Any says whether there is anything to show yet.
func (d curvesData) Any() bool {
	for _, f := range d.First {
		if f.Any() {
			return true
		}
	}
	return len(d.Others) > 0
}

// live fills what the page of a round shows of its training.
func (s *server) live(c *gin.Context, d *roundData) (err error) {
	ctx := c.Request.Context()
	times, err := s.Loop.Timeline(ctx, d.Round)
	if err != nil {
		return err
	}
	for i := range d.Path {
		for _, t := range times {
			if t.Stage == d.Path[i].Name {
				d.Path[i].StageTime = t
			}
		}
	}
	if d.Curves, err = s.curves(c, d.Round); err != nil {
		return err
	}
	if d.Alarms, err = s.Loop.Alarms(ctx, d.ID, 20); err != nil {
		return err
	}
	for i, a := range d.Alarms {
		if a.Open() && !d.Stage.Ended() {
			d.Stopped = &d.Alarms[i]
		}
	}
	if d.PPORunID != "" {
		asked, err := s.Loop.SampledPrompts(ctx, d.PPORunID)
		if err != nil {
			return err
		}
		d.Samples = len(asked) > 0
	}
	rounds, err := s.Loop.List(ctx, d.ProjectID, 30)
	for _, r := range rounds {
		if r.Number < d.Number && r.RewardRunID+r.SFTRunID != "" && len(d.Former) < 8 {
			d.Former = append(d.Former, r)
		}
	}
	return err
}

// curves are the charts of a round's runs.
func (s *server) curves(c *gin.Context, r loop.Round) (d curvesData, err error) {
	l := s.language(c)
	say := func(x sentence) string { return l.T(string(x)) }
	limits := limitsOf(r.Config.Alarms)
	for i, id := range runsOf(r) {
		all := map[string]curve{}
		if id != "" {
			points, err := s.Runs.Metrics(c.Request.Context(), id, -1)
			if err != nil {
				return d, err
			}
			all = curvesOf(points)
		}
		first, others := figuresOf(say, curveKinds[i], all, limits[curveKinds[i]])
		d.First, d.Others = append(d.First, first...), append(d.Others, others...)
	}
	return d, nil
}

// limitsOf are the lines that figures must not cross, where a rule is about the figure as it is.
func limitsOf(l loop.Limits) map[string]map[string][]float64 {
	out := map[string][]float64{}
	for _, r := range loop.Rules() {
		if limit, on := l.Of(r); on && (r.Name == loop.RuleKL || r.Name == loop.RuleNegativeKL || r.Name == loop.RuleRatio) {
			out[r.Metric] = append(out[r.Metric], limit)
		}
	}
	return map[string]map[string][]float64{loop.KindPPO: out}
}

// runsOf are the runs of a round in the order of curveKinds; "" where there is none yet.
func runsOf(r loop.Round) [4]string {
	return [4]string{r.SFTRunID, r.RewardRunID, r.PPORunID, r.EvaluateRunID}
}

// answerAlarm lets a round go on that an alarm stopped.
func (s *server) answerAlarm(c *gin.Context) {
	reason, err := formValue(c, "reason", 4000)
	if err != nil {
		s.fail(c, err)
		return
	}
	var limit *float64
	if v := strings.TrimSpace(c.PostForm("limit")); v != "" {
		x, err := strconv.ParseFloat(v, 64)
		if err != nil {
			s.fail(c, bad("limit", "must be a number"))
			return
		}
		limit = &x
	}
	if err := s.Loop.ResumeAlarm(c.Request.Context(), c.Param("id"), actor(c), reason, limit); err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/admin/rounds/"+url.PathEscape(c.Param("id")), "resumed")
}

// runCurves are the figures of one run, thinned.
type runCurves struct {
	Kind    string           `json:"kind"`
	First   int              `json:"first"` // step
	Last    int              `json:"last"`
	Thinned bool             `json:"thinned"` // some points are left out
	Curves  map[string]curve `json:"curves"`
}

// sentPoints bounds a curve of an answer.
const sentPoints = 800

// roundCurves answers with the curves of a round as they are now, thinned so that no peak is lost, and with the id of the event from which
// the stream of events goes on. With kind, from and to it is a part of one run.
func (s *server) roundCurves(c *gin.Context) {
	ctx := c.Request.Context()
	r, err := s.Loop.View(ctx, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	from, to := 0, math.MaxInt32
	for name, at := range map[string]*int{"from": &from, "to": &to} {
		if v := c.Query(name); v != "" {
			if *at, err = strconv.Atoi(v); err != nil || *at < 0 || *at > math.MaxInt32 {
				s.fail(c, bad(name, "must be a step of the run"))
				return
			}
		}
	}
	var last cursor
	runs := []runCurves{}
	for i, id := range runsOf(r) {
		if kind := c.Query("kind"); id == "" || kind != "" && kind != curveKinds[i] {
			continue
		}
		points, err := s.Runs.Metrics(ctx, id, -1)
		if err != nil {
			s.fail(c, err)
			return
		}
		if len(points) == 0 {
			continue
		}
		last[i] = points[len(points)-1].Step
		part := runCurves{Kind: curveKinds[i], First: points[0].Step, Last: last[i], Curves: map[string]curve{}}
		for name, all := range curvesOf(points) {
			all = all.between(from, to)
			thin := all.thin(sentPoints)
			part.Thinned = part.Thinned || len(thin.X) < len(all.X)
			part.Curves[name] = thin
		}
		runs = append(runs, part)
	}
	c.JSON(http.StatusOK, gin.H{"cursor": last.String(), "runs": runs})
}

// roundCSV answers with all points of a round for spreadsheets.
func (s *server) roundCSV(c *gin.Context) {
	ctx := c.Request.Context()
	r, err := s.Loop.View(ctx, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	points := make([][]run.Point, len(curveKinds))
	for i, id := range runsOf(r) {
		if id == "" {
			continue
		}
		if points[i], err = s.Runs.Metrics(ctx, id, -1); err != nil {
			s.fail(c, err)
			return
		}
	}
	var b bytes.Buffer
	if err := writeCSV(&b, curveKinds, points); err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Content-Disposition", fmt.Sprintf(`attachment; filename="round-%d.csv"`, r.Number))
	c.Data(http.StatusOK, "text/csv; charset=utf-8", b.Bytes())
}

// roundUpdate is what the page is told of a round.
type roundUpdate struct {
	Stage    loop.Stage    `json:"stage"`
	Label    string        `json:"label"` // of the stage, in the reader's language
	Ended    bool          `json:"ended"`
	Counted  string        `json:"counted"` // the progress, likewise
	Left     string        `json:"left"`    // what is left of the stage, likewise
	Progress loop.Progress `json:"progress"`
	Error    string        `json:"error"`
	Paused   bool          `json:"paused"`
}

// runPoints are new points of one run.
type runPoints struct {
	Kind   string      `json:"kind"` // one of curveKinds
	Points []run.Point `json:"points"`
}

// Pace of a round's events. A step is written within a second of its end, so it is on the page within two.
const (
	eventPace = 500 * time.Millisecond
	eventLife = 10 * time.Minute // then the page connects again, and the session is checked again
)

// cursor is how far a reader is: the last step of each run, in the order of curveKinds.
type cursor [4]int

func (k cursor) String() string { return fmt.Sprintf("%d.%d.%d.%d", k[0], k[1], k[2], k[3]) }

// roundEvents tells of a round as it goes: "round" when stage or progress changed, "points" for new steps of its runs. The
// id of an event says how far the reader is, so a reader that reconnects gets what it missed and nothing twice.
func (s *server) roundEvents(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), eventLife)
	defer cancel()
	from := c.GetHeader("Last-Event-ID")
	if from == "" {
		from = c.Query("after")
	}
	at, err := parseCursor(from)
	if err != nil {
		s.fail(c, err)
		return
	}
	r, err := s.Loop.View(ctx, c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	out := startStream(c)
	var last string
	tick := time.NewTicker(eventPace)
	defer tick.Stop()
	for {
		last, err = s.sendRound(ctx, out, s.language(c), r, &at, last)
		if err == nil && r.Stage.Ended() {
			out.send([]byte("event: end\ndata: {}\n\n"))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err == nil {
			r, err = s.Loop.View(ctx, r.ID)
		}
		if err != nil {
			if ctx.Err() == nil {
				s.Log.Error("round events", "request", requestID(c.Request), "error", err)
			}
			return // the page connects again
		}
	}
}

// sendRound sends what is new since last and the cursor.
func (s *server) sendRound(ctx context.Context, out *sender, l *lang.Language, r loop.Round, at *cursor, last string) (string, error) {
	left, err := s.left(ctx, l, r)
	if err != nil {
		return last, err
	}
	b, err := json.Marshal(roundUpdate{r.Stage, l.T(string(stageNames[r.Stage])), r.Stage.Ended(), counted(l, r.Progress), left, r.Progress, r.Error, r.PausedAt != nil})
	if err != nil {
		return last, err
	}
	if string(b) == last {
		err = out.send([]byte(": still here\n\n"))
	} else {
		err = out.send(event("round", *at, b))
	}
	if err != nil {
		return last, err
	}
	for i, id := range runsOf(r) {
		if id == "" {
			continue
		}
		points, err := s.Runs.Metrics(ctx, id, at[i])
		if err != nil || len(points) == 0 {
			if err != nil {
				return last, err
			}
			continue
		}
		at[i] = points[len(points)-1].Step
		p, err := json.Marshal(runPoints{curveKinds[i], points})
		if err != nil {
			return last, err
		}
		if err := out.send(event("points", *at, p)); err != nil {
			return last, err
		}
	}
	return string(b), nil
}

// left says how long the present stage will take, "" where nothing tells.
func (s *server) left(ctx context.Context, l *lang.Language, r loop.Round) (string, error) {
	if r.Stage.Ended() {
		return "", nil
	}
	times, err := s.Loop.Timeline(ctx, r)
	if err != nil {
		return "", err
	}
	for _, t := range times {
		if t.Stage == r.Stage && t.Left != nil {
			return l.T("about %s left", about(l, *t.Left)), nil
		}
	}
	return "", nil
}

// about is a duration that is an estimate: no finer than it is sure.
func about(l *lang.Language, d time.Duration) string {
	unit := time.Second
	switch {
	case d > time.Hour:
		unit = 5 * time.Minute
	case d > 5*time.Minute:
		unit = time.Minute
	case d > 20*time.Second:
		unit = 5 * time.Second
	}
	return l.Duration(max(unit, d.Round(unit)).Seconds())
}

func event(name string, at cursor, data []byte) []byte {
	return fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n\n", at, name, data)
}

func parseCursor(id string) (out cursor, err error) {
	if id == "" {
		return out, nil
	}
	parts := strings.Split(id, ".")
	for i := range out {
		if len(parts) != len(out) {
			break
		}
		if out[i], err = strconv.Atoi(parts[i]); err != nil || out[i] < 0 || out[i] > math.MaxInt32 {
			break
		}
		if i == len(out)-1 {
			return out, nil
		}
	}
	return cursor{}, bad("Last-Event-ID", "is none of this stream's")
}
