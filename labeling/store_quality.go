package labeling

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// What the quarantine rule does in a project.
const (
	QuarantineOff       = "off"
	QuarantineSuggest   = "suggest"   // shows whom it suspects
	QuarantineAutomatic = "automatic" // and quarantines them
)

// QualitySettings are how a project measures its labelers.
type QualitySettings struct {
	GoldRate     float64 // share of gold tasks in a labeler's stream, 0 to 0.5
	ControlAfter int     // own tasks between a ranking and its repetition, on average as many between two; 0 = none, else 10 or more
	Quarantine   string  // QuarantineOff, QuarantineSuggest or QuarantineAutomatic
	Qualify      bool    // only labelers who passed the test are served
	PassPairs    float64 // share of the known pairs that passes
	PassFlags    float64 // share of the known flags that passes (where any are known)
	RetryHours   int     // between two attempts
	Attempts     int     // at most
	TestItems    int     // gold items of an attempt
	RandomShare  float64 // of tasks served whatever their score; see SelectNext
	PolicyShare  float64 // of tasks served with answers of the policy that is trained now, while there are any
}

// Bounds of the settings: a stream is mostly work, and a task comes back when it is forgotten.
const (
	maxGoldRate = 0.5
	minControl  = 10
)

func (q QualitySettings) validate() error {
	within := func(v float64, high float64) bool { return v >= 0 && v <= high } // false for NaN
	switch {
	case !within(q.GoldRate, maxGoldRate):
		return invalid("gold_rate", "%g is not within 0..%g", q.GoldRate, maxGoldRate)
	case q.ControlAfter != 0 && (q.ControlAfter < minControl || q.ControlAfter > 100_000):
		return invalid("control_after", "%d is neither 0 nor within %d..100000", q.ControlAfter, minControl)
	case q.Quarantine != QuarantineOff && q.Quarantine != QuarantineSuggest && q.Quarantine != QuarantineAutomatic:
		return invalid("quarantine", "%q is none of off, suggest, automatic", q.Quarantine)
	case !within(q.PassPairs, 1) || !within(q.PassFlags, 1):
		return invalid("pass_pairs", "pass marks are shares within 0..1")
	case q.RetryHours < 0 || q.RetryHours > 8760:
		return invalid("retry_hours", "%d is not within 0..8760", q.RetryHours)
	case q.Attempts < 1 || q.Attempts > 100:
		return invalid("attempts", "%d is not within 1..100", q.Attempts)
	case q.TestItems < 1 || q.TestItems > 100:
		return invalid("test_items", "%d is not within 1..100", q.TestItems)
	case !within(q.RandomShare, 1) || !within(q.PolicyShare, 1):
		return invalid("random_share", "shares are within 0..1")
	}
	return nil
}

// QualitySettings returns a project's settings.
func (s *Store) QualitySettings(ctx context.Context, projectID string) (QualitySettings, error) {
	var q QualitySettings
	if !isID(projectID) {
		return q, fmt.Errorf("quality settings of project %q: %w", projectID, ErrNotFound)
	}
	err := s.pool.QueryRow(ctx, `SELECT gold_rate, control_after, quarantine, qualify, pass_pairs, pass_flags, retry_hours, attempts, test_items,
		random_share, policy_share FROM projects WHERE id = $1`, projectID).
		Scan(&q.GoldRate, &q.ControlAfter, &q.Quarantine, &q.Qualify, &q.PassPairs, &q.PassFlags, &q.RetryHours, &q.Attempts, &q.TestItems,
			&q.RandomShare, &q.PolicyShare)
	return q, wrap(err, "quality settings of project %s", projectID)
}

// SetQualitySettings changes them, at once for everybody.
func (s *Store) SetQualitySettings(ctx context.Context, projectID string, q QualitySettings, actor string) error {
	if err := q.validate(); err != nil {
		return err
	}
	if !isID(projectID) {
		return fmt.Errorf("quality settings of project %q: %w", projectID, ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE projects SET gold_rate = $2, control_after = $3, quarantine = $4, qualify = $5, pass_pairs = $6, pass_flags = $7,
			retry_hours = $8, attempts = $9, test_items = $10, random_share = $11, policy_share = $12 WHERE id = $1`,
			projectID, q.GoldRate, q.ControlAfter, q.Quarantine, q.Qualify, q.PassPairs, q.PassFlags, q.RetryHours, q.Attempts, q.TestItems,
			q.RandomShare, q.PolicyShare)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, actor, "labeling.quality_settings", projectID, map[string]any{"gold_rate": q.GoldRate, "control_after": q.ControlAfter,
			"quarantine": q.Quarantine, "qualify": q.Qualify, "pass_pairs": q.PassPairs, "pass_flags": q.PassFlags, "retry_hours": q.RetryHours,
			"attempts": q.Attempts, "test_items": q.TestItems, "random_share": q.RandomShare, "policy_share": q.PolicyShare})
	})
	s.measuring.Delete(projectID)
	return wrap(err, "quality settings of project %s", projectID)
}

// LabelerQuality is a labeler's standing in a project.
type LabelerQuality struct {
	Quality
	Quarantined *time.Time // nil: works
	Why         string     // of the quarantine
	Aside       int        // rankings that it put aside, whose tasks were queued again
	Qualified   *time.Time
	JudgedAt    *time.Time // when the rule looked last; nil: never
	Sense       float64    // see Suspicion
	Evidence    float64
	Suspect     bool   // the evidence is beyond the rule's bound
	Fault       string // what the rule would call it
}

// window is how many of a labeler's newest rankings are looked at: enough for every figure, and a bound on the work.
const window = 400

// measured reads the newest rankings of a project's labelers. Rankings that a quarantine put aside are left out, unless of is
// that labeler (then its own are kept, so that the reasons stay visible). Rankings that hold more than the task's answers (a
// text that the labeler wrote) compare with nobody's.
func (s *Store) measured(ctx context.Context, projectID, of string) ([]Measured, error) {
	rows, err := s.pool.Query(ctx, `
		WITH newest AS MATERIALIZED (
			SELECT a.* FROM labelers l, LATERAL (
				SELECT a.id, a.task_id, a.labeler_id, a.display_order, a.ranking_id, a.closed_at FROM assignments a
				WHERE a.project_id = $1 AND a.labeler_id = l.labeler_id AND a.ranking_id IS NOT NULL AND (NOT a.surplus OR a.labeler_id = $2)
				ORDER BY a.closed_at DESC NULLS FIRST LIMIT $3) a
			WHERE l.project_id = $1
		)
		SELECT t.id, a.labeler_id, k.ranks, a.display_order, (extract(epoch FROM k.created_at) * 1000000)::bigint, k.active_ms, g.ranks, f.ranks,
			ARRAY(SELECT length(r.text) FROM responses r WHERE r.task_id = t.id ORDER BY r.position)
		FROM newest a JOIN tasks t ON t.id = a.task_id JOIN rankings k ON k.id = a.ranking_id
		LEFT JOIN gold g ON g.task_id = t.id
		LEFT JOIN assignments b ON b.id = t.control_of LEFT JOIN rankings f ON f.id = b.ranking_id
		WHERE NOT t.hidden AND t.k >= 2 AND cardinality(k.ranks) = t.k ORDER BY t.id, a.labeler_id`, projectID, of, window)
	if err != nil {
		return nil, err
	}
	var out []Measured
	var task, last string
	var l Timed
	var gold, lengths []int
	_, err = pgx.ForEachRow(rows, []any{&task, &l.Labeler, &l.Ranks, &l.Order, &l.At, &l.Active, &gold, &l.Former, &lengths}, func() error {
		if task != last {
			out, last = append(out, Measured{Lengths: lengths, Gold: gold}), task
		}
		m := &out[len(out)-1]
		m.Labels = append(m.Labels, l)
		l, gold, lengths = Timed{}, nil, nil
		return nil
	})
	return out, err
}

// Labelers describes every labeler of a project who has ranked, in the order of their ids. Figures are over the newest
// rankings of each.
func (s *Store) Labelers(ctx context.Context, projectID string) ([]LabelerQuality, error) {
	if !isID(projectID) {
		return nil, fmt.Errorf("labelers of project %q: %w", projectID, ErrNotFound)
	}
	tasks, err := s.measured(ctx, projectID, "")
	if err != nil {
		return nil, wrap(err, "labelers of project %s", projectID)
	}
	by := map[string]Quality{}
	for _, q := range Measure(tasks) {
		by[q.Labeler] = q
	}
	rows, err := s.pool.Query(ctx, `SELECT labeler_id, quarantined_at, quarantine_why, qualified_at, judged_at, coalesce(sense, 0), coalesce(evidence, 0), fault,
			(SELECT count(*) FROM assignments a WHERE l.quarantined_at IS NOT NULL AND a.project_id = l.project_id AND a.labeler_id = l.labeler_id AND a.aside)
		FROM labelers l WHERE project_id = $1 ORDER BY labeler_id COLLATE "C"`, projectID)
	if err != nil {
		return nil, wrap(err, "labelers of project %s", projectID)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (q LabelerQuality, err error) {
		var name string
		err = row.Scan(&name, &q.Quarantined, &q.Why, &q.Qualified, &q.JudgedAt, &q.Sense, &q.Evidence, &q.Fault, &q.Aside)
		q.Quality = by[name]
		q.Labeler = name
		q.Suspect = q.JudgedAt != nil && q.Fault != ""
		return
	})
	return list, wrap(err, "labelers of project %s", projectID)
}

// LabelerQuality describes one labeler, with the rankings that a quarantine put aside.
func (s *Store) LabelerQuality(ctx context.Context, projectID, labelerID string) (Quality, error) {
	if !isID(projectID) {
		return Quality{}, fmt.Errorf("quality of %s in project %q: %w", labelerID, projectID, ErrNotFound)
	}
	tasks, err := s.measured(ctx, projectID, labelerID)
	if err != nil {
		return Quality{}, wrap(err, "quality of %s", labelerID)
	}
	for _, q := range Measure(tasks) {
		if q.Labeler == labelerID {
			return q, nil
		}
	}
	return Quality{Labeler: labelerID}, nil
}

// Judge lets the quarantine rule look at a project, stores what it says of each labeler, and quarantines the suspects where
// the project wants that done by itself. It returns the labelers that are suspect now. People known from a file alone, and customers, are
// heard as others' opinion and not judged.
func (s *Store) Judge(ctx context.Context, projectID string) ([]Suspicion, error) {
	settings, err := s.QualitySettings(ctx, projectID)
	if err != nil || settings.Quarantine == QuarantineOff {
		return nil, err
	}
	tasks, err := s.measured(ctx, projectID, "")
	if err != nil {
		return nil, wrap(err, "judge project %s", projectID)
	}
	var judged []Judged
	for _, t := range tasks {
		if t.Labels[0].Former == nil {
			judged = append(judged, t.Judged())
		}
	}
	var suspects []Suspicion
	b := &pgx.Batch{}
	for _, j := range Suspect(judged, DefaultRule) {
		if outside(j.Labeler) {
			continue
		}
		fault := ""
		if j.Suspect {
			suspects, fault = append(suspects, j), j.Fault
		}
		b.Queue(`UPDATE labelers SET judged_at = now(), sense = $3, evidence = $4, fault = $5
			WHERE project_id = $1 AND labeler_id = $2 AND quarantined_at IS NULL`, projectID, j.Labeler, j.Sense, j.Evidence, fault)
	}
	if b.Len() > 0 {
		if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
			return nil, wrap(err, "judge project %s", projectID)
		}
	}
	if settings.Quarantine != QuarantineAutomatic {
		return suspects, nil
	}
	for _, j := range suspects {
		reason := fmt.Sprintf("%s: evidence %.1f after %d rankings, sense %.2f of the median labeler's", j.Fault, j.Evidence, j.Labels, j.Sense)
		if _, err := s.Quarantine(ctx, projectID, j.Labeler, reason, "system:quality"); err != nil {
			return suspects, err
		}
	}
	return suspects, nil
}

// JudgeAll lets the rule look at every project.
func (s *Store) JudgeAll(ctx context.Context) error {
	list, err := s.Projects(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		if _, err := s.Judge(ctx, p.ID); err != nil {
			return err
		}
	}
	return nil
}
