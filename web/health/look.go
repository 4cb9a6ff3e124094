package health

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/rankloop/rankloop/web/audit"
)

// Sources are where Look looks. Functions may be nil: then nobody knows, and there is no check of it.
type Sources struct {
	Store      *Store
	Audit      *audit.Store
	Dir        string                                                  // data folder
	Pools      int                                                     // connections that this process may open
	Migrations func(context.Context) (pending, unknown int, err error) // that this program knows and the database lacks, and the other way round
	Leases     func(context.Context) (Leases, error)
	Webhooks   func(context.Context) (Webhooks, error)
	BackupDays func() int       // after so many days without a backup it is said; nil: 8
	Clock      func() time.Time // nil: time.Now
}

// Verify recomputes the audit log's chain, as audit.Store does, and remembers what came of it.
func (s Sources) Verify(ctx context.Context, progress func(audit.Verdict) error) (audit.Verdict, error) {
	v, err := s.Audit.Verify(ctx, progress)
	if err != nil {
		return v, err
	}
	detail := fmt.Sprintf("%d entries", v.Checked)
	if v.Broken != nil {
		detail = fmt.Sprintf("entry %d", *v.Broken)
	}
	return v, s.Store.Mark(ctx, MarkAudit, v.Broken == nil, detail)
}

// Look looks at everything once. engine is nil where no policy serves in this process; serves says whether one should.
func (s Sources) Look(ctx context.Context, engine *Engine, serves bool) Report {
	if s.Clock == nil {
		s.Clock = time.Now
	}
	r := Report{At: s.Clock().UTC(), State: OK}
	r.Figures.Engine = engine
	if serves {
		r.engine(engine)
	}
	s.database(ctx, &r)
	r.Figures.Disk = diskOf(s.Dir)
	r.Figures.Memory = memory()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	r.Figures.HeapBytes = int64(mem.HeapInuse)
	r.space("disk", r.Figures.Disk, 0.10, 2<<30, say(advice, "Make room: remove old weights by 'rankloop model gc', or move the data folder to a larger disk. A full disk stops training and, where Postgres is on it, everything."))
	r.space("memory", r.Figures.Memory, 0.05, 256<<20, say(advice, "Give the machine more memory, or a smaller --kv-cache and --keep-former to 'rankloop serve'; else the system may end a process."))
	return r
}

func (s Sources) database(ctx context.Context, r *Report) {
	p, err := s.Store.postgres(ctx, s.Clock)
	if err != nil {
		r.add("database", Bad, say(found, "not reachable: %s", err.Error()), say(advice, "Start Postgres, and check the address, the user and the password that rankloop was given."))
		return
	}
	r.Figures.DatabaseBytes, r.Figures.SkewSeconds, r.Figures.Connections, r.Figures.ConnectionMax = p.size, p.skew.Seconds(), p.connections, p.maxConnections-p.reserved
	r.add("database", OK, say(found, "%s in size", Size(p.size)), Words{})
	r.version(p.version, r.At)
	r.settings(p)
	r.connections(p, s.Pools)
	r.skew(p.skew)
	if s.Migrations != nil {
		pending, unknown, err := s.Migrations(ctx)
		r.migrations(pending, unknown, err)
	}
	s.work(ctx, r)
	s.records(ctx, r)
}

// work looks at jobs, leases and webhooks.
func (s Sources) work(ctx context.Context, r *Report) {
	queues, leader, err := s.Store.queues(ctx)
	if r.failed("jobs.leader", err) {
		return
	}
	r.Figures.Queues = queues
	r.jobs(queues, leader)
	if s.Leases != nil {
		l, err := s.Leases(ctx)
		if !r.failed("leases", err) {
			r.Figures.Leases = l
			r.leases(l)
		}
	}
	if s.Webhooks != nil {
		w, err := s.Webhooks(ctx)
		if !r.failed("webhooks", err) {
			r.Figures.Webhooks = w
			r.webhooks(w)
		}
	}
}

// records looks at the audit log and at backups.
func (s Sources) records(ctx context.Context, r *Report) {
	unsealed, oldest, err := s.Audit.Unsealed(ctx)
	if !r.failed("audit.seal", err) {
		r.Figures.AuditUnsealed = unsealed
		r.seal(unsealed, oldest)
	}
	marks, err := s.Store.Marks(ctx)
	if r.failed("audit.chain", err) {
		return
	}
	if m, ok := marks[MarkAudit]; ok {
		r.Figures.VerifiedAt = &m
	}
	if m, ok := marks[MarkBackup]; ok {
		r.Figures.BackupAt = &m
	}
	r.chain(r.Figures.VerifiedAt)
	days := 8
	if s.BackupDays != nil {
		days = s.BackupDays()
	}
	r.backup(r.Figures.BackupAt, time.Duration(days)*24*time.Hour)
}

// failed reports a check that could not be made.
func (r *Report) failed(name string, err error) bool {
	if err != nil {
		r.add(name, Bad, say(found, "could not be read: %s", err.Error()), say(advice, "Look at the log of Postgres and of rankloop."))
	}
	return err != nil
}
