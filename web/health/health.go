package health

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"
)

// State of a check, or the worst of a report.
type State string

// From best to worst.
const (
	OK   State = "ok"
	Warn State = "warn" // somebody should look at it
	Bad  State = "bad"  // data is in danger, or work stands still
)

func (s State) rank() int {
	switch s {
	case Bad:
		return 2
	case Warn:
		return 1
	}
	return 0
}

// Words are a sentence with its values; a time.Duration among them is said with %s.
type Words struct {
	Text   string
	Values []any
}

// In is the sentence by a language's way to fill in values and to say a number of seconds.
func (w Words) In(t func(sentence string, values ...any) string, seconds func(float64) string) string {
	if w.Text == "" {
		return ""
	}
	values := make([]any, len(w.Values))
	for i, v := range w.Values {
		if d, ok := v.(time.Duration); ok {
			v = seconds(d.Seconds())
		}
		values[i] = v
	}
	return t(w.Text, values...)
}

// String is the sentence in English.
func (w Words) String() string {
	return w.In(func(s string, values ...any) string {
		if len(values) == 0 {
			return s
		}
		return fmt.Sprintf(s, values...)
	}, func(s float64) string { return time.Duration(s * float64(time.Second)).Round(time.Second).String() })
}

// MarshalJSON writes the English sentence.
func (w Words) MarshalJSON() ([]byte, error) { return json.Marshal(w.String()) }

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"` // such as postgres.fsync; stable
	State  State  `json:"state"`
	Found  Words  `json:"found"`
	Advice Words  `json:"advice"` // what to do; empty where all is well
}

// Title names the check for people.
func (c Check) Title() string { return cmp.Or(string(titles[c.Name]), c.Name) }

type sentence string

// titles name the checks.
var titles = map[string]sentence{
	"database": "Database", "postgres.version": "Version of Postgres", "postgres.fsync": "fsync", "postgres.full_page_writes": "full_page_writes",
	"postgres.synchronous_commit": "synchronous_commit", "postgres.checksums": "Checksums of data pages", "postgres.wal_level": "Level of the write-ahead log",
	"postgres.connections": "Connections", "clock": "Clocks", "migrations": "Schema", "audit.chain": "Audit log: chain verified", "audit.seal": "Audit log: sealing",
	"backup": "Backup", "disk": "Disk of the data folder", "memory": "Memory of this machine", "jobs.leader": "Workers", "jobs.waiting": "Jobs that wait", "jobs.failed": "Jobs given up",
	"jobs.paused": "Queues at rest", "leases": "Leases of labelers", "webhooks": "Webhooks", "engine": "Engine",
}

// Report is what was found, worst first where it is shown to people.
type Report struct {
	At      time.Time `json:"at"`
	State   State     `json:"state"` // the worst of the checks
	Checks  []Check   `json:"checks"`
	Figures Figures   `json:"figures"`
}

// Figures are the numbers behind a report. What could not be read is zero.
type Figures struct {
	Queues        []Queue  `json:"queues"`
	Leases        Leases   `json:"leases"`
	Webhooks      Webhooks `json:"webhooks"`
	Engine        *Engine  `json:"engine"` // null: no policy serves here
	DatabaseBytes int64    `json:"database_bytes"`
	Connections   int      `json:"connections"`
	ConnectionMax int      `json:"connections_max"`
	Disk          Space    `json:"disk"`
	Memory        Space    `json:"memory"`
	HeapBytes     int64    `json:"heap_bytes"` // of this process
	SkewSeconds   float64  `json:"clock_skew_seconds"`
	AuditUnsealed int64    `json:"audit_unsealed"`
	BackupAt      *Mark    `json:"backup"` // null: none is known
	VerifiedAt    *Mark    `json:"audit_verified"`
}

// Queue is one of River's.
type Queue struct {
	Name          string  `json:"name"`
	Waiting       int     `json:"waiting"` // due, and not taken yet
	Running       int     `json:"running"`
	Later         int     `json:"later"` // scheduled, or to be tried again
	OldestSeconds float64 `json:"oldest_seconds"`
	Failed24h     int     `json:"failed_24h"` // given up in the last 24 hours
	Paused        bool    `json:"paused"`
}

// Leases are tasks in the hands of labelers.
type Leases struct {
	Open          int     `json:"open"`
	Expired       int     `json:"expired"` // of these, past their time and not yet back in the queue
	OldestSeconds float64 `json:"oldest_expired_seconds"`
}

// Webhooks are deliveries to other systems.
type Webhooks struct {
	Waiting int `json:"waiting"`
	Failed  int `json:"failed_24h"` // given up in the last 24 hours
}

// Engine is what decodes.
type Engine struct {
	Model       string  `json:"model"`
	Running     int     `json:"running"`
	Places      int     `json:"places"`
	Waiting     int     `json:"waiting"`
	QueuePlaces int     `json:"queue_places"`
	KVUsed      int64   `json:"kv_used_bytes"`
	KVTotal     int64   `json:"kv_total_bytes"`
	TokensPerS  float64 `json:"tokens_per_s"` // written in a second of work
}

// Space is a store that can fill up. Total 0 means that it is not known here.
type Space struct {
	Free  int64 `json:"free_bytes"`
	Total int64 `json:"total_bytes"`
}

// Mark is a moment worth remembering, such as the last backup.
type Mark struct {
	At     time.Time `json:"at"`
	Age    float64   `json:"age_seconds"`
	OK     bool      `json:"ok"`
	Detail string    `json:"detail"`
}

func (r *Report) add(name string, state State, found, advice Words) {
	if state == OK {
		advice = Words{}
	}
	r.Checks = append(r.Checks, Check{name, state, found, advice})
	if state.rank() > r.State.rank() {
		r.State = state
	}
}

// say makes Words; what is found comes first, what to do after it.
func say(_ kind, text string, values ...any) Words { return Words{text, values} }

// kind of Words, for who reads the code and for the test that collects sentences.
type kind int

const (
	found kind = iota
	advice
)

// Size is a number of bytes for people.
func Size(n int64) string {
	switch {
	case n >= 10<<40:
		return fmt.Sprintf("%d TB", n>>40)
	case n >= 10<<30:
		return fmt.Sprintf("%d GB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%d MB", n>>20)
}
