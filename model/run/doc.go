// Package run works on training runs as chains of short slices, so that no crash costs more than one slice and no
// result depends on where slices end.
//
// # A slice
//
// A run is a row in runs; its work is a chain of River jobs whose kind is the run's kind and whose arguments are
// (run, epoch, step). One job does one slice: it claims the row, has the run's Trainer in memory or loads it, steps
// until the slice's time is over, writes the state to a folder that appears atomically, and ends in one transaction:
//
//	run row WHERE epoch = mine AND step = where I began     (0 rows: a zombie, everything is rolled back)
//	metrics ON CONFLICT DO NOTHING
//	next slice by InsertTx, unique by (run, epoch, step); or, at the end, Finish
//	JobCompleteTx
//
// So the row, the metrics, the job chain and the result move together or not at all. State files are only ever added
// before that transaction and removed after it.
//
// # Crashes
//
// While a slice runs, a goroutine of the worker's writes a heartbeat each second, and with it the metrics so far, for
// live curves. Reap restarts runs whose heartbeat is older than 15 s: epoch + 1, new job. Whoever still works under
// the old epoch touches 0 rows, at the next heartbeat stops, and can't finish. River's own rescue of a dead worker's
// job comes later and finds a stale epoch. Since a Trainer repeats bit for bit, the restarted run ends with the same
// weights, and metrics written before the crash are those it would write again.
//
// A run whose worker dies again and again without one committed step (out of memory, say) fails after maxRestarts.
//
// # Errors
//
// An error of New, Load, Step, Prepare or Finish fails the run at once, with its text in Run.Error, since the next
// attempt would meet it again. Errors of connection (database, blob store) and a full disk are retried by River with
// growing pauses, about three minutes in all.
//
// # Who stops whom
//
// Pause and Cancel change the row; the worker sees it at its next heartbeat. A paused run commits what it has.
// A stopping process ends its slice between two steps, commits, and leaves the next slice to whoever takes it.
package run
