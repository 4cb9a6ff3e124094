package model

import "github.com/rankloop/rankloop/model/kernel"

// Urgent calls f, which somebody waits for, once passes that nobody waits for (Forward, Backward, Score, AdamW.Step and what is between
// BeginBackground and EndBackground) have paused; they resume when f returns. One f runs at a time.
func Urgent(f func()) { kernel.Urgent(f) }

// BeginBackground marks steps of decoding that nobody waits for, until EndBackground on the same goroutine.
func BeginBackground() { kernel.BeginBackground() }

// EndBackground ends what BeginBackground began.
func EndBackground() { kernel.EndBackground() }
