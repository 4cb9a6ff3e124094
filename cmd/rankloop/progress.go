package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// progress shows how far a piece of work is: a bar on a terminal, a line every few seconds elsewhere. It is used by one
// goroutine.
type progress struct {
	w        io.Writer
	terminal bool
	bars     *mpb.Progress
	bar      *mpb.Bar
	name     string
	last     time.Time
	done     int
	unit     atomic.Pointer[string] // of the bar; it is drawn by a goroutine of its own
}

// lineEvery is how often progress is told where there is no terminal.
const lineEvery = 5 * time.Second

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// show says that done of total units of the work called name are through. A new name begins a new bar.
func (p *progress) show(name string, done, total int, unit string) {
	if !p.terminal {
		if name != p.name || done != p.done && (time.Since(p.last) >= lineEvery || done == total) {
			fmt.Fprintf(p.w, "%s: %d of %d %s\n", name, done, total, unit)
			p.last = time.Now()
			p.done = done
		}
		p.name = name
		return
	}
	p.unit.Store(&unit)
	if name != p.name {
		p.end()
		p.name = name
		p.bars = mpb.New(mpb.WithOutput(p.w), mpb.WithWidth(40))
		p.bar = p.bars.New(int64(max(total, 1)), mpb.BarStyle().Rbound("|").Lbound("|"),
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-28s", name))),
			mpb.AppendDecorators(decor.CountersNoUnit("%d of %d "), decor.Any(func(decor.Statistics) string { return *p.unit.Load() }),
				decor.Name("  "), decor.Elapsed(decor.ET_STYLE_MMSS)))
	}
	p.bar.SetTotal(int64(max(total, 1)), false)
	p.bar.SetCurrent(int64(done))
}

// end finishes the bar on the screen, if any.
func (p *progress) end() {
	if p.bar == nil {
		return
	}
	p.bar.SetTotal(-1, true)
	p.bars.Wait()
	p.bar, p.bars, p.name = nil, nil, ""
}

// say prints a line above whatever comes next.
func (p *progress) say(format string, args ...any) {
	p.end()
	fmt.Fprintf(p.w, format+"\n", args...)
}
