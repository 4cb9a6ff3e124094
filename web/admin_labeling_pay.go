package web

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // time zones by name, also where the machine has none

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
)

// payLine is a line of the export.
type payLine struct {
	LabelerID   string  `json:"labeler_id"`
	Name        string  `json:"name"`
	Email       string  `json:"email"`
	Rankings    int     `json:"rankings"`
	Revisions   int     `json:"revisions"`
	ActiveHours float64 `json:"active_hours"`
	PaidHours   float64 `json:"paid_hours"`
	CappedTasks int     `json:"capped_tasks"`
}

// payExport is the file as JSON: the lines and the rule by which they were made.
type payExport struct {
	Project    string    `json:"project"`
	From       string    `json:"from"` // first day
	To         string    `json:"to"`   // last day
	TimeZone   string    `json:"time_zone"`
	CapMinutes int       `json:"cap_minutes"`
	Labelers   []payLine `json:"labelers"`
}

type payData struct {
	labelingData
	File  payExport
	query string
	Total payLine
}

// Download is the address of the page's figures as a file.
func (d payData) Download(ending string) string {
	return "/admin/labeling/pay." + ending + "?" + d.query
}

// payQuery reads the period: days in a time zone, both of them in it.
func (s *server) payQuery(c *gin.Context) (payData, labeling.PayQuery, error) {
	var d payData
	var err error
	if d.labelingData, err = s.chosen(c, "pay"); err != nil {
		return d, labeling.PayQuery{}, err
	}
	if d.File.TimeZone = c.Query("tz"); d.File.TimeZone == "" {
		d.File.TimeZone = "UTC"
	}
	zone, err := time.LoadLocation(d.File.TimeZone)
	if err != nil || d.File.TimeZone == "Local" {
		return d, labeling.PayQuery{}, bad("tz", "must be a time zone such as UTC, Asia/Taipei or Europe/Berlin")
	}
	now := time.Now().In(zone)
	from := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, zone)
	to := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, zone)
	for name, at := range map[string]*time.Time{"from": &from, "to": &to} {
		text := c.Query(name)
		if text == "" {
			continue
		}
		if *at, err = time.ParseInLocation(time.DateOnly, text, zone); err != nil || at.Year() < 2000 || at.Year() > 9000 {
			return d, labeling.PayQuery{}, bad(name, "must be a day such as 2026-03-31")
		}
		if name == "to" {
			*at = at.AddDate(0, 0, 1)
		}
	}
	d.File.CapMinutes = int(labeling.DefaultPayCap.Minutes())
	if text := c.Query("cap"); text != "" {
		if d.File.CapMinutes, err = strconv.Atoi(text); err != nil || d.File.CapMinutes < 1 || d.File.CapMinutes > 24*60 {
			return d, labeling.PayQuery{}, bad("cap", "must be a whole number of minutes from 1 to 1440")
		}
	}
	d.File.Project, d.File.From, d.File.To = d.Project.Name, from.Format(time.DateOnly), to.AddDate(0, 0, -1).Format(time.DateOnly)
	q := url.Values{"from": {d.File.From}, "to": {d.File.To}, "tz": {d.File.TimeZone}, "cap": {strconv.Itoa(d.File.CapMinutes)}}
	if d.Q != "" {
		q.Set("project", d.Project.ID)
	}
	d.query = q.Encode()
	return d, labeling.PayQuery{ProjectID: d.Project.ID, From: from, To: to, Cap: time.Duration(d.File.CapMinutes) * time.Minute}, nil
}

// fill puts names to the rows.
func (d *payData) fill(s *server, c *gin.Context, rows []labeling.PayRow) error {
	users, err := s.Accounts.Users(c.Request.Context())
	if err != nil {
		return err
	}
	emails := map[string]string{}
	for _, u := range users {
		emails[u.ID] = u.Email
	}
	d.File.Labelers = []payLine{}
	for _, r := range rows {
		line := payLine{r.LabelerID, d.Name(r.LabelerID), emails[r.LabelerID], r.Rankings, r.Revisions, r.Active.Hours(), r.Paid.Hours(), r.Capped}
		d.File.Labelers = append(d.File.Labelers, line)
		d.Total.Rankings += line.Rankings
		d.Total.Revisions += line.Revisions
		d.Total.ActiveHours += line.ActiveHours
		d.Total.PaidHours += line.PaidHours
		d.Total.CappedTasks += line.CappedTasks
	}
	return nil
}

func (s *server) payPage(c *gin.Context) {
	d, q, err := s.payQuery(c)
	var rows []labeling.PayRow
	if err == nil {
		rows, err = s.Labeling.Pay(c.Request.Context(), q)
	}
	if err == nil {
		err = d.fill(s, c, rows)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.render(c, http.StatusOK, "labeling_pay", view{Title: "Pay", Nav: "labeling", Data: d})
}

// exportPay answers with a file.
func (s *server) exportPay(kind string, write func(payExport) []byte) gin.HandlerFunc {
	return func(c *gin.Context) {
		d, q, err := s.payQuery(c)
		var rows []labeling.PayRow
		if err == nil {
			rows, err = s.Labeling.ExportPay(c.Request.Context(), q, actor(c))
		}
		if err == nil {
			err = d.fill(s, c, rows)
		}
		if err != nil {
			s.fail(c, err)
			return
		}
		ending, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(kind, "text/"), "application/"), ";")
		c.Header("Content-Disposition", fmt.Sprintf(`attachment; filename="pay-%s-%s.%s"`, d.File.From, d.File.To, ending))
		c.Data(http.StatusOK, kind, write(d.File))
	}
}

// payCSV is RFC 4180 with a byte order mark, without which spreadsheets take UTF-8 for something else.
func payCSV(e payExport) []byte {
	var b bytes.Buffer
	b.WriteString("\ufeff")
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	hours := func(h float64) string { return strconv.FormatFloat(h, 'f', 4, 64) }
	w.Write([]string{"labeler_id", "name", "email", "project", "from", "to", "time_zone", "cap_minutes", "rankings", "revisions", "active_hours", "paid_hours", "capped_tasks"}) // a buffer takes all
	for _, l := range e.Labelers {
		w.Write([]string{inert(l.LabelerID), inert(l.Name), inert(l.Email), inert(e.Project), e.From, e.To, inert(e.TimeZone), strconv.Itoa(e.CapMinutes),
			strconv.Itoa(l.Rankings), strconv.Itoa(l.Revisions), hours(l.ActiveHours), hours(l.PaidHours), strconv.Itoa(l.CappedTasks)})
	}
	w.Flush()
	return b.Bytes()
}

// inert keeps a spreadsheet from taking a name for a formula: what begins like one gets an apostrophe in front.
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠|%", []rune(cell)[0]) {
		return "'" + cell
	}
	return cell
}

func payJSON(e payExport) []byte {
	raw, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and finite numbers
	}
	return raw
}
