// Package migrations brings a database to the schema this binary needs: the
// numbered SQL files embedded from sql/ by golang-migrate, then River's own
// tables by rivermigrate in the schema "river".
//
// Both sets run under one pg_advisory_lock held on a connection of its own, since
// rivermigrate takes no lock and two of them on a fresh database collide. Any
// number of processes may call Up at once: one works, the others wait and find
// nothing left to do.
//
// # A killed migration
//
// golang-migrate sets a dirty flag, runs the file, clears the flag. When the
// process dies in between, the backend may still finish and commit the file while
// the flag stays, and plain golang-migrate then asks for a hand. Here each file
// runs as one transaction together with a row in schema_marker, so the newest marker
// is the truth. Up on a dirty database waits until the orphaned backend is gone (the
// lock of golang-migrate lives in that same backend's session), sets the version to
// what the markers say, and goes on. Nothing is ever left for an operator to force.
//
// # Rules for the files
//
// Named NNNN_name.up.sql and NNNN_name.down.sql. A file is one implicit transaction:
// no BEGIN, no COMMIT, no CREATE INDEX CONCURRENTLY (it may deadlock with the lock
// and can't run in a transaction). No foreign keys to River's tables: River deletes
// finished jobs. A file that has been released is never edited.
//
// The session lock needs a direct connection: not through a pooler in transaction mode.
package migrations
