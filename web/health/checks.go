package health

import (
	"strings"
	"time"
)

// When something is worth a look.
const (
	skewWarn, skewBad     = 2 * time.Second, 30 * time.Second
	waitDefault, waitLong = 5 * time.Minute, 6 * time.Hour // of the oldest job; training is one run after the other
	leaseLate             = 2 * time.Minute
	sealLate              = time.Minute
	chainOld              = 35 * 24 * time.Hour
	endNear               = 180 * 24 * time.Hour
)

// lastDays are when versions of Postgres get no more fixes (postgresql.org/support/versioning).
var lastDays = map[int]string{14: "2026-11-12", 15: "2027-11-11", 16: "2028-11-09", 17: "2029-11-08", 18: "2030-11-14"}

// version judges server_version_num, such as 150018.
func (r *Report) version(num int, now time.Time) {
	major, minor := num/10000, num%10000
	name := say(found, "%d.%d", major, minor)
	day, known := lastDays[major]
	end, _ := time.Parse(time.DateOnly, day)
	upgrade := say(advice, "Move to a newer major version: 'rankloop backup' with the old one, 'rankloop restore' into the new one.")
	switch {
	case major < 14:
		r.add("postgres.version", Bad, name, say(advice, "rankloop needs Postgres 14 or newer."))
	case known && now.After(end):
		r.add("postgres.version", Bad, say(found, "%d.%d, without fixes since %s", major, minor, day), upgrade)
	case known && now.After(end.Add(-endNear)):
		r.add("postgres.version", Warn, say(found, "%d.%d, without fixes after %s", major, minor, day), upgrade)
	default:
		r.add("postgres.version", OK, name, Words{})
	}
}

// settings judges what may cost data after a crash.
func (r *Report) settings(p postgres) {
	is := func(v string) Words { return say(found, "is %s", v) }
	set := func(name string) Words {
		return say(advice, "Set %s = on in postgresql.conf and reload: with it off, a crash of the machine can destroy what was acknowledged.", name)
	}
	for _, name := range []string{"fsync", "full_page_writes"} {
		r.add("postgres."+name, pick(p.setting[name] == "on", OK, Bad), is(p.setting[name]), set(name))
	}
	commit := p.setting["synchronous_commit"]
	r.add("postgres.synchronous_commit", pick(commit != "off", OK, Bad), is(commit), set("synchronous_commit"))
	r.add("postgres.checksums", pick(p.setting["data_checksums"] == "on", OK, Warn), is(p.setting["data_checksums"]),
		say(advice, "Stop Postgres and run 'pg_checksums --enable': without checksums a failing disk changes rows unseen."))
	level := p.setting["wal_level"]
	r.add("postgres.wal_level", pick(level != "minimal", OK, Warn), is(level),
		say(advice, "Set wal_level = replica: with minimal there can be no standby server and no continuous archive."))
}

func (r *Report) connections(p postgres, pools int) {
	room := p.maxConnections - p.reserved
	others := max(0, p.connections-p.own)
	raise := say(advice, "Raise max_connections in postgresql.conf and restart Postgres, or close what else connects to it.")
	n := say(found, "%d of %d in use; this process opens up to %d", p.connections, room, pools)
	switch {
	case p.connections >= room*9/10:
		r.add("postgres.connections", Bad, n, raise)
	case others+pools > room:
		r.add("postgres.connections", Warn, n, raise)
	default:
		r.add("postgres.connections", OK, n, Words{})
	}
}

func (r *Report) skew(d time.Duration) {
	state := OK
	if d.Abs() >= skewBad {
		state = Bad
	} else if d.Abs() >= skewWarn {
		state = Warn
	}
	r.add("clock", state, say(found, "this machine and the database are %.1f s apart", d.Abs().Seconds()),
		say(advice, "Let both machines follow a time server (chrony or systemd-timesyncd): leases, limits and schedules go by the clock."))
}

func (r *Report) migrations(pending, unknown int, err error) {
	switch {
	case r.failed("migrations", err):
	case unknown > 0:
		r.add("migrations", Bad, say(found, "%d migrations are not known to this program", unknown), say(advice, "A newer rankloop was here: run that version on every machine."))
	case pending > 0:
		r.add("migrations", Bad, say(found, "%d migrations are missing", pending), say(advice, "Run 'rankloop migrate up'."))
	default:
		r.add("migrations", OK, say(found, "up to date"), Words{})
	}
}

func (r *Report) jobs(queues []Queue, leader bool) {
	r.add("jobs.leader", pick(leader, OK, Bad), pick(leader, say(found, "at work"), say(found, "nobody takes jobs")),
		say(advice, "Start 'rankloop work', or 'rankloop serve' without --no-work: nothing is sampled, trained or swept until then."))
	slow, failed, waiting := "", 0, 0
	var oldest time.Duration
	var paused []string
	for _, q := range queues {
		age, limit := time.Duration(q.OldestSeconds*float64(time.Second)), waitLong
		if q.Name == "default" {
			limit = waitDefault
		}
		if age > limit && !q.Paused && age > oldest {
			slow, oldest = q.Name, age
		}
		failed, waiting = failed+q.Failed24h, waiting+q.Waiting
		if q.Paused {
			paused = append(paused, q.Name)
		}
	}
	if slow != "" {
		r.add("jobs.waiting", Warn, say(found, "%d; the oldest has waited for %s in the queue %s", waiting, oldest, slow), say(advice, "Look at what runs under Jobs, and start more 'rankloop work' processes where the machine has room."))
	} else {
		r.add("jobs.waiting", OK, say(found, "%d", waiting), Words{})
	}
	r.add("jobs.failed", pick(failed == 0, OK, Warn), say(found, "%d in 24 hours", failed), say(advice, "Under Jobs, open those that were discarded, read their errors, and let them be tried again once the cause is mended."))
	if len(paused) > 0 {
		r.add("jobs.paused", Warn, say(found, "%s", strings.Join(paused, ", ")), say(advice, "Somebody paused them under Jobs; resume them there."))
	} else {
		r.add("jobs.paused", OK, say(found, "none"), Words{})
	}
}

func (r *Report) leases(l Leases) {
	late := l.Expired > 0 && time.Duration(l.OldestSeconds*float64(time.Second)) > leaseLate
	r.add("leases", pick(!late, OK, Warn), say(found, "%d open, %d past their time", l.Open, l.Expired),
		say(advice, "The sweep gives them back every minute when a worker runs; see Workers and Jobs that wait."))
}

func (r *Report) webhooks(w Webhooks) {
	r.add("webhooks", pick(w.Failed == 0, OK, Warn), say(found, "%d deliveries given up in 24 hours, %d waiting", w.Failed, w.Waiting),
		say(advice, "Read the answers under Data, Webhooks; mend the receiver and replay, or remove the webhook."))
}

func (r *Report) seal(unsealed int64, oldest time.Duration) {
	r.add("audit.seal", pick(oldest < sealLate, OK, Warn), say(found, "%d entries not sealed yet", unsealed),
		say(advice, "Workers seal the log every second; see that one runs, and look for 'audit log could not be sealed' in its log."))
}

func (r *Report) chain(m *Mark) {
	verify := say(advice, "Verify it under Audit, or by 'rankloop audit verify' from a timer.")
	switch {
	case m == nil:
		r.add("audit.chain", Warn, say(found, "never"), verify)
	case !m.OK:
		r.add("audit.chain", Bad, say(found, "broken: %s", m.Detail), say(advice, "Entries were changed or removed behind rankloop's back. Keep the database as it is, and compare it with a backup."))
	case m.age() > chainOld:
		r.add("audit.chain", Warn, say(found, "%s ago", m.age()), verify)
	default:
		r.add("audit.chain", OK, say(found, "%s ago", m.age()), Words{})
	}
}

func (r *Report) backup(m *Mark, old time.Duration) {
	again := say(advice, "Run 'rankloop backup FILE' from a timer, keep the file on another machine, and try 'rankloop restore' once.")
	switch {
	case m == nil:
		r.add("backup", Warn, say(found, "none is known; those that other tools make are not seen here"), again)
	case m.age() > old:
		r.add("backup", Warn, say(found, "%s ago", m.age()), again)
	default:
		r.add("backup", OK, say(found, "%s ago", m.age()), Words{})
	}
}

func (r *Report) engine(e *Engine) {
	switch {
	case e == nil:
		r.add("engine", Bad, say(found, "no policy serves"), say(advice, "Promote a model on the page Models; the API answers from then on."))
	case e.QueuePlaces > 0 && e.Waiting*5 >= e.QueuePlaces*4:
		r.add("engine", Warn, say(found, "%d of %d places taken, %d requests wait", e.Running, e.Places, e.Waiting), say(advice, "Requests will soon be sent away: lower the limits of keys, or serve from more machines."))
	default:
		r.add("engine", OK, say(found, "%d of %d places taken, %d requests wait", e.Running, e.Places, e.Waiting), Words{})
	}
}

// space warns below a share of what there is or a number of bytes, whichever is less; a fifth of that is bad.
func (r *Report) space(name string, s Space, share float64, least int64, what Words) {
	if s.Total == 0 {
		return
	}
	limit := min(int64(share*float64(s.Total)), 5*least)
	state := OK
	if s.Free < limit/5 {
		state = Bad
	} else if s.Free < limit {
		state = Warn
	}
	r.add(name, state, say(found, "%s of %s free", Size(s.Free), Size(s.Total)), what)
}

func (m Mark) age() time.Duration { return time.Duration(m.Age * float64(time.Second)) }

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
