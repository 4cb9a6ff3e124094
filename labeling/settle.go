package labeling

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// settling is a staged record on its way into the tables.
type settling struct {
	line     int
	part     int // of the line
	kind     Kind
	body     []byte // as it is staged
	rec      Record
	messages []Message // the prompt, redacted
	hash     [32]byte  // of it
	prefix   []byte
	finds    []Find // in the prompt
	was      original
	answers  [][]PIISpan // found in the completions

	prompt string // id, once it is known
	tasks  int    // of a prompt that is new
	fresh  bool   // it became something
	wrong  error  // it was rejected
}

// stagedRecord reads a row of import_rows again.
func stagedRecord(kind Kind, body []byte) (Record, error) {
	o, err := parseObject(body)
	if err != nil {
		return Record{}, err
	}
	parse := parseTRL
	if kind == Ranked {
		parse = parseRecord
	}
	list, err := parse(o)
	if err != nil {
		return Record{}, err
	}
	if len(list) != 1 || list[0].Kind != kind {
		return Record{}, errors.New("a staged record became another")
	}
	return list[0], nil
}

// tooMany is the error of a ranking that no task can hold.
func (it *settling) tooMany() error {
	if n := len(it.rec.Completions); n > MaxAnswers {
		return invalid("completions", "%d given, a task holds at most %d", n, MaxAnswers)
	}
	return nil
}

func errWithdrawn() error { return invalid("prompt", "its customer withdrew it") }

func errContradicts() error {
	return invalid("ranks", "the same labeler has ranked the same answers otherwise")
}

// prepare reads the record and cleans it.
func (it *settling) prepare() (err error) {
	if it.rec, err = stagedRecord(it.kind, it.body); err != nil {
		return fmt.Errorf("line %d: %w", it.line, err)
	}
	it.body = nil
	it.clean()
	return nil
}

// clean takes personal data out of the record, and hashes what is left.
func (it *settling) clean() {
	it.was = original{Messages: it.rec.conversation()}
	it.was.Text = it.was.Messages[len(it.was.Messages)-1].Content
	if it.messages, it.finds = redactMessages(it.was.Messages); it.finds != nil {
		it.rec.PromptIDs = nil
		it.hash = promptHash(it.messages)
	}
	for i, c := range it.rec.Completions {
		clean, spans := Redact(c)
		if spans == nil {
			continue
		}
		if it.answers == nil {
			it.answers = make([][]PIISpan, len(it.rec.Completions))
			it.rec.Completions = append([]string{}, it.rec.Completions...)
			it.rec.CompletionIDs = nil
		}
		it.rec.Completions[i], it.answers[i] = clean, spans
	}
	it.prefix = prefixHash(it.messages)
}

// text is the prompt as it is served.
func (it *settling) text() string { return it.messages[len(it.messages)-1].Content }

// prepareAll prepares records on all processors.
func prepareAll(list []*settling) error {
	var working sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	errs := make([]error, n)
	for w := range n {
		working.Go(func() {
			for i := w; i < len(list) && errs[w] == nil; i += n {
				errs[w] = list[i].prepare()
			}
		})
	}
	working.Wait()
	return errors.Join(errs...)
}

// outcome is what became of a line's records: its counts, and why it was rejected.
func outcome(records []*settling) (imported, duplicates int, wrong error) {
	for _, it := range records {
		if it.fresh {
			return 1, 0, nil
		}
		if it.wrong != nil {
			wrong = it.wrong
		}
	}
	if wrong != nil {
		return 0, 0, wrong
	}
	return 0, 1, nil
}
