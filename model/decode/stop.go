package decode

import (
	"strings"

	"github.com/rankloop/rankloop/model/token"
)

// writer turns tokens into text that may be shown: whole characters, and nothing
// that may yet turn out to be the beginning of a stop text.
type writer struct {
	stream *token.Stream
	stop   []string
	held   string
}

// next takes a token and returns what may be shown; stopped says that a stop text
// came, which is not shown, and nothing after it.
func (w *writer) next(id int32) (text string, stopped bool) { return w.add(w.stream.Next(id)) }

// flush returns what was held back, at the end of the completion.
func (w *writer) flush() (text string, stopped bool) {
	text, stopped = w.add(w.stream.Flush())
	if !stopped {
		text += w.held
	}
	w.held = ""
	return text, stopped
}

func (w *writer) add(s string) (text string, stopped bool) {
	w.held += s
	at := -1
	for _, stop := range w.stop {
		if i := strings.Index(w.held, stop); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at >= 0 {
		text, w.held = w.held[:at], ""
		return text, true
	}
	keep := 0
	for _, stop := range w.stop {
		for n := min(len(stop)-1, len(w.held)); n > keep; n-- {
			if strings.HasSuffix(w.held, stop[:n]) {
				keep = n
			}
		}
	}
	cut := len(w.held) - keep
	text, w.held = w.held[:cut], w.held[cut:]
	return text, false
}
