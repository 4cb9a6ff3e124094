// Package registry keeps model versions: what weights exist, what they were made from, and which of them serve.
//
// A version is an immutable fact: the digest of a model folder in the blob store, its parents, the run, the round and
// the snapshot of rankings behind it, and the metrics measured when it was made. Following the parents (Lineage) leads
// from any weights back to the rankings and the base model they came from.
//
// A channel is a name that customers' requests resolve to ("default"). Its live row is the serving pointer; a unique
// index allows one per channel. Promote moves the pointer, and appends the audit row and the notification on "serving" to
// the same transaction, so a server that hears of it finds it done. Every row remembers the one to go back to: Rollback
// serves that version again, and a second Rollback goes back one further (it never flips between two).
package registry
