package labeling

import "time"

// Dashboard are a project's figures as its admins see them. They are computed by a job (RefreshDashboard) from sums over
// the rankings that count: the newest revision of each labeler and task, without surplus, hidden and held ones. Medians and
// other quantiles are those of a histogram, to one part in a hundred.
type Dashboard struct {
	ComputedAt time.Time     `json:"-"`
	Took       time.Duration `json:"-"`

	States    map[string]int  `json:"states"` // tasks by state: TaskOpen and so on
	Need      int             `json:"need"`   // rankings asked for, of tasks that are neither hidden nor held
	Done      int             `json:"done"`   // of these, in
	Rankings  int             `json:"rankings"`
	Days      []DayCount      `json:"days"` // UTC days from the first with a ranking to the last, at most maxDays
	Agreement Agreement       `json:"agreement"`
	Weeks     []AgreementPart `json:"weeks"`      // agreement by week of the newest ranking of the task
	ByAnswers []AgreementPart `json:"by_answers"` // agreement by the number of answers
	Places    []PlaceBias     `json:"places"`

	Categories []AgreementPart `json:"categories"` // agreement by Prompt.Category, that with most rankings first, at most maxCategories

	Longer   Share          `json:"longer"`  // strict pairs in which the longer answer won
	Times    []int          `json:"times"`   // rankings by active time: bin i holds 2^(i-1) to 2^i seconds, the last all above
	Median   float64        `json:"median"`  // active seconds of a ranking
	P90      float64        `json:"p90"`     // 9 of 10 rankings took less
	Reading  float64        `json:"reading"` // median of active seconds per 1000 characters of answers
	Labelers []LabelerStats `json:"labelers"`
}

// Bounds of a dashboard.
const (
	maxDays         = 365
	maxWeeks        = 104
	maxCategories   = 50
	timeBins        = 12 // the last is above 1024 s
	maxLabelerStats = 1000
	// SpeederFactor: a ranking is called fast where the active time per character of its answers is below the project's
	// median divided by this.
	SpeederFactor = 3
)

// States of a task, as lists and dashboards name them.
const (
	TaskOpen    = "open"   // a slot is open
	TaskWorked  = "worked" // no slot is open, rankings are on their way
	TaskDone    = "done"   // all rankings are in
	TaskHeld    = "held"   // reported
	TaskHidden  = "hidden" // its customer withdrew the consent
	taskStateOf = `CASE WHEN t.hidden THEN 'hidden' WHEN t.held <> '' THEN 'held' WHEN t.open_slots > 0 THEN 'open' WHEN t.done >= t.need THEN 'done' ELSE 'worked' END`
)

// TaskStates lists them in the order of a task's life.
var TaskStates = []string{TaskOpen, TaskWorked, TaskDone, TaskHeld, TaskHidden}

// DayCount is one UTC day.
type DayCount struct {
	Day      time.Time `json:"day"`
	Rankings int       `json:"rankings"`
}

// AgreementPart is the agreement of a part of the tasks.
type AgreementPart struct {
	Of string `json:"of"` // what the part is: a Monday (2006-01-02), a number of answers, or a category
	Agreement
}

// Mean is a mean with its 95% interval (normal, over the tasks of one labeler).
type Mean struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	N     int     `json:"n"` // 0: there is nothing to say
}

// PlaceBias says how answers fared by the place in which they were shown. Without bias each mean rank is (K+1)/2.
type PlaceBias struct {
	K        int       `json:"k"`
	Rankings int       `json:"rankings"`
	Mean     []float64 `json:"mean"`  // mean rank by place, ties at their mid-ranks
	Error    []float64 `json:"error"` // standard error of it
}

// LabelerStats are one labeler's figures. Agreement is with the others who ranked the same answers, pair by pair
// (leave-one-out). PlaceTau is the mean of Kendall's tau-b between the order shown and the order given: 0 without bias, 1
// for somebody who ranks as shown.
type LabelerStats struct {
	LabelerID string    `json:"id"`
	Done      int       `json:"done"`
	Skipped   int       `json:"skipped"`
	Hours     float64   `json:"hours"`  // active
	Median    float64   `json:"median"` // active seconds of a ranking
	P90       float64   `json:"p90"`
	Fast      Share     `json:"fast"` // rankings faster than SpeederFactor allows
	Agreement Share     `json:"agreement"`
	Gold      Share     `json:"gold"` // strict pairs of known ranks ordered alike (GoldScore), over gold tasks
	PlaceTau  Mean      `json:"place_tau"`
	Longer    Share     `json:"longer"`
	LastSeen  time.Time `json:"last_seen"`
}

// Rate is how many rankings came in a day over the last week before the figures, and the days that what is still asked for
// takes at that rate; ok is false where nothing came.
func (d Dashboard) Rate() (perDay, days float64, ok bool) {
	from := d.ComputedAt.UTC().Truncate(24*time.Hour).AddDate(0, 0, -6)
	n := 0
	for _, day := range d.Days {
		if !day.Day.Before(from) {
			n += day.Rankings
		}
	}
	if n == 0 {
		return 0, 0, false
	}
	perDay = float64(n) / 7
	return perDay, float64(max(0, d.Need-d.Done)) / perDay, true
}
