package kernel

// Ahead is memory that is read soon but lies far away: while a product keeps a processor busy, MulAhead fetches it to the second-level
// cache, where a decoder's attention, which reads each of its numbers once, would have to wait for it. One goroutine at a time.
type Ahead struct {
	runs [][]float32
	at   int // the first run of which something is left
}

// Clear drops what has yet to be fetched.
func (a *Ahead) Clear() { a.runs, a.at = a.runs[:0], 0 }

// Add puts a run of memory behind what is there.
func (a *Ahead) Add(run []float32) {
	if len(run) > 0 {
		a.runs = append(a.runs, run)
	}
}

// take returns where the next n numbers begin, nil where nothing is left. At the end of a run they are fewer.
func (a *Ahead) take(n int) *float32 {
	if a == nil || a.at == len(a.runs) {
		return nil
	}
	run := a.runs[a.at]
	if a.runs[a.at] = run[min(n, len(run)):]; len(run) <= n {
		a.at++
	}
	return &run[0]
}
