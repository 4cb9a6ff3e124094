package health

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestChecks: what each finding means. A row names the check, what was found, and how bad that is.
func TestChecks(t *testing.T) {
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	sound := map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on", "wal_level": "replica"}
	with := func(name, value string) func(*Report) {
		s := map[string]string{}
		for k, v := range sound {
			s[k] = v
		}
		s[name] = value
		return func(r *Report) { r.settings(postgres{setting: s}) }
	}
	aged := func(d time.Duration, ok bool) *Mark { return &Mark{Age: d.Seconds(), OK: ok, Detail: "entry 7"} }
	for _, c := range []struct {
		name string
		look func(*Report)
		want State
		says string
	}{
		{"postgres.version", func(r *Report) { r.version(130011, now) }, Bad, "13.11"},
		{"postgres.version", func(r *Report) { r.version(140020, now) }, Bad, "14.20, without fixes since 2026-11-12"},
		{"postgres.version", func(r *Report) { r.version(150018, now.Add(200*day)) }, Warn, "after 2027-11-11"},
		{"postgres.version", func(r *Report) { r.version(180001, now) }, OK, "18.1"},
		{"postgres.version", func(r *Report) { r.version(190000, now) }, OK, "19.0"},
		{"postgres.fsync", with("fsync", "off"), Bad, "is off"},
		{"postgres.fsync", with("x", ""), OK, "is on"},
		{"postgres.full_page_writes", with("full_page_writes", "off"), Bad, "is off"},
		{"postgres.synchronous_commit", with("synchronous_commit", "off"), Bad, "is off"},
		{"postgres.synchronous_commit", with("synchronous_commit", "remote_apply"), OK, "remote_apply"},
		{"postgres.checksums", with("data_checksums", "off"), Warn, "is off"},
		{"postgres.wal_level", with("wal_level", "minimal"), Warn, "minimal"},
		{"postgres.connections", func(r *Report) {
			r.connections(postgres{maxConnections: 100, reserved: 3, connections: 20, own: 20}, 24)
		}, OK, "20 of 97"},
		{"postgres.connections", func(r *Report) {
			r.connections(postgres{maxConnections: 100, reserved: 3, connections: 80, own: 5}, 24)
		}, Warn, "80 of 97"},
		{"postgres.connections", func(r *Report) {
			r.connections(postgres{maxConnections: 100, reserved: 3, connections: 96, own: 96}, 24)
		}, Bad, "96 of 97"},
		{"clock", func(r *Report) { r.skew(-300 * time.Millisecond) }, OK, "0.3 s"},
		{"clock", func(r *Report) { r.skew(-3 * time.Second) }, Warn, "3.0 s"},
		{"clock", func(r *Report) { r.skew(time.Minute) }, Bad, "60.0 s"},
		{"migrations", func(r *Report) { r.migrations(0, 0, nil) }, OK, "up to date"},
		{"migrations", func(r *Report) { r.migrations(2, 0, nil) }, Bad, "2 migrations are missing"},
		{"migrations", func(r *Report) { r.migrations(0, 1, nil) }, Bad, "not known"},
		{"migrations", func(r *Report) { r.migrations(0, 0, errors.New("refused")) }, Bad, "refused"},
		{"jobs.leader", func(r *Report) { r.jobs(nil, false) }, Bad, "nobody takes jobs"},
		{"jobs.waiting", func(r *Report) { r.jobs([]Queue{{Name: "default", Waiting: 3, OldestSeconds: 600}}, true) }, Warn, "3; the oldest has waited for 10m0s in the queue default"},
		{"jobs.waiting", func(r *Report) { r.jobs([]Queue{{Name: "train", Waiting: 3, OldestSeconds: 600}}, true) }, OK, "3"},
		{"jobs.waiting", func(r *Report) {
			r.jobs([]Queue{{Name: "default", Waiting: 3, OldestSeconds: 600, Paused: true}}, true)
		}, OK, "3"},
		{"jobs.paused", func(r *Report) { r.jobs([]Queue{{Name: "train", Paused: true}}, true) }, Warn, "train"},
		{"jobs.failed", func(r *Report) { r.jobs([]Queue{{Name: "train", Failed24h: 1}, {Name: "default", Failed24h: 2}}, true) }, Warn, "3 in 24 hours"},
		{"leases", func(r *Report) { r.leases(Leases{Open: 5, Expired: 1, OldestSeconds: 30}) }, OK, "5 open, 1 past"},
		{"leases", func(r *Report) { r.leases(Leases{Open: 5, Expired: 1, OldestSeconds: 300}) }, Warn, "5 open, 1 past"},
		{"webhooks", func(r *Report) { r.webhooks(Webhooks{Failed: 1}) }, Warn, "1 deliveries given up"},
		{"audit.seal", func(r *Report) { r.seal(9, 5*time.Minute) }, Warn, "9 entries"},
		{"audit.chain", func(r *Report) { r.chain(nil) }, Warn, "never"},
		{"audit.chain", func(r *Report) { r.chain(aged(time.Hour, true)) }, OK, "1h0m0s ago"},
		{"audit.chain", func(r *Report) { r.chain(aged(40*day, true)) }, Warn, "ago"},
		{"audit.chain", func(r *Report) { r.chain(aged(time.Hour, false)) }, Bad, "broken: entry 7"},
		{"backup", func(r *Report) { r.backup(nil, 8*day) }, Warn, "none is known"},
		{"backup", func(r *Report) { r.backup(aged(9*day, true), 8*day) }, Warn, "216h0m0s ago"},
		{"backup", func(r *Report) { r.backup(aged(9*day, true), 10*day) }, OK, "ago"},
		{"engine", func(r *Report) { r.engine(nil) }, Bad, "no policy"},
		{"engine", func(r *Report) { r.engine(&Engine{Running: 32, Places: 32, Waiting: 80, QueuePlaces: 100}) }, Warn, "80 requests wait"},
		{"disk", func(r *Report) { r.space("disk", Space{Free: 500 << 30, Total: 1000 << 30}, 0.1, 2<<30, Words{}) }, OK, "500 GB of 1000 GB"},
		{"disk", func(r *Report) { r.space("disk", Space{Free: 9 << 30, Total: 1000 << 30}, 0.1, 2<<30, Words{}) }, Warn, "9.0 GB"},
		{"disk", func(r *Report) { r.space("disk", Space{Free: 1 << 30, Total: 1000 << 30}, 0.1, 2<<30, Words{}) }, Bad, "1.0 GB"},
	} {
		r := Report{State: OK}
		c.look(&r)
		found := false
		for _, k := range r.Checks {
			if k.Name != c.name {
				continue
			}
			found = true
			if k.State != c.want || !strings.Contains(k.Found.String(), c.says) {
				t.Errorf("%s: %s %q, want %s with %q", c.name, k.State, k.Found, c.want, c.says)
			}
			if (k.State == OK) != (k.Advice.Text == "") && c.name != "disk" {
				t.Errorf("%s is %s, and advises %q", c.name, k.State, k.Advice)
			}
			if k.Title() == k.Name && !strings.Contains(k.Name, "backup") {
				t.Errorf("%s has no title", k.Name)
			}
		}
		if !found || r.State.rank() < c.want.rank() {
			t.Errorf("%s: found %v, the whole is %s", c.name, found, r.State)
		}
	}
}

func TestParseMemory(t *testing.T) {
	got := parseMemory([]byte("MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    4096 kB\n"))
	if got != (Space{Free: 4 << 20, Total: 16 << 20}) {
		t.Errorf("%+v", got)
	}
}
