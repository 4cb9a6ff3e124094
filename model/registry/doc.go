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
//
// A canary is a version beside the one that serves: it answers a share of the requests, always of the same customers, which grows
// step by step until it is promoted. Servers write down how both sides answered (Observe), guards compare them (Judge); whoever moves
// the canary (ppo/loop) does so in one transaction with its history, its audit row and the notification. A unique index allows one
// canary in a channel. A pointer that moves ends it.
package registry
