package labeling

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxCompletions bounds the completions of one record of a file. What people rank is
// bounded by MaxAnswers.
const MaxCompletions = 64

// Record is one ranking as a file carries it.
type Record struct {
	Prompt        string    // "" where Messages is given
	Messages      []Message // the conversation that the completions answer
	Completions   []string
	Ranks         []int // competition ranks
	Labeler       string
	Split         string // "" | train | valid | test
	PromptIDs     []int32
	CompletionIDs [][]int32
	Tokenizer     string // digest, of PromptIDs and CompletionIDs
}

// check is what every format's records must satisfy; it brings the ranks into their
// canonical form.
func (r *Record) check() error {
	if len(r.Messages) > 0 {
		if err := checkMessages(r.Messages); err != nil {
			return err
		}
	} else if strings.TrimSpace(r.Prompt) == "" {
		return invalid("prompt", "empty")
	}
	k := len(r.Completions)
	if k < MinAnswers || k > MaxCompletions {
		return invalid("completions", "%d given, %d to %d are wanted", k, MinAnswers, MaxCompletions)
	}
	for i, c := range r.Completions {
		// An answer that was sampled may be empty: its ids then hold the end of text.
		if strings.TrimSpace(c) == "" && (len(r.CompletionIDs) <= i || len(r.CompletionIDs[i]) == 0) {
			return invalid(fmt.Sprintf("completions[%d]", i), "empty")
		}
	}
	if len(r.Ranks) != k {
		return invalid("ranks", "%d given for %d completions", len(r.Ranks), k)
	}
	var err error
	if r.Ranks, err = Canonical(r.Ranks); err != nil {
		return err
	}
	switch r.Split {
	case "", Train, Valid, Test:
	default:
		return invalid("split", "%q is none of train, valid, test", r.Split)
	}
	if r.CompletionIDs != nil && len(r.CompletionIDs) != k {
		return invalid("completion_ids", "%d given for %d completions", len(r.CompletionIDs), k)
	}
	for i, ids := range r.CompletionIDs {
		if err := checkTokens(fmt.Sprintf("completion_ids[%d]", i), ids, r.Tokenizer); err != nil {
			return err
		}
	}
	return checkTokens("prompt_ids", r.PromptIDs, r.Tokenizer)
}

// conversation is the prompt as messages.
func (r Record) conversation() []Message {
	if len(r.Messages) > 0 {
		return r.Messages
	}
	return []Message{{Role: "user", Content: r.Prompt}}
}

// group identifies what was ranked: prompt and completions, not who ranked it how.
func (r Record) group() [32]byte {
	h := sha256.New()
	p := promptHash(r.conversation())
	h.Write(p[:])
	for _, c := range r.Completions {
		h.Write(binary.AppendUvarint(nil, uint64(len(c))))
		h.Write([]byte(c))
	}
	return [32]byte(h.Sum(nil))
}

// identity tells records apart: the same labeler's same ranking of the same answers is a
// duplicate.
func (r Record) identity() [32]byte {
	g := r.group()
	return sha256.Sum256(fmt.Appendf(g[:], "%v %s", r.Ranks, r.Labeler))
}

// Format is a kind of preference file: JSON lines, plain or gzip, each holding one or
// more rankings.
type Format struct {
	Name  string
	parse func(o object) ([]Record, error)
}

// formats is the table of all formats. A new one is a file with its parse function and
// a row here.
var formats = []Format{
	{"rankings", parseRecord},
	{"hh", parseHH},
}

// FormatNames lists the formats that Import reads.
func FormatNames() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.Name)
	}
	return names
}

// ImportReport counts the lines of a file: Read = Imported + Duplicates + Rejected.
type ImportReport struct {
	Read       int          `json:"read"`
	Imported   int          `json:"imported"`   // lines with at least one new ranking
	Duplicates int          `json:"duplicates"` // lines with rankings seen before, nothing else
	Rejected   int          `json:"rejected"`
	Reasons    []*LineError `json:"-"` // of the rejected lines, at most maxReasons
}

const maxReasons = 1000

// Import reads a file of the named format and passes on each ranking that is valid and
// new in this file. Lines that are not are counted, with their reason, and do not stop
// it; an unreadable file does. emit may answer with an InvalidError (the record is
// counted as rejected) or ErrConflict (as a duplicate); its other errors end the import.
func Import(r io.Reader, format string, emit func(Record) error) (ImportReport, error) {
	var report ImportReport
	f, err := formatNamed(format)
	if err != nil {
		return report, err
	}
	seen := map[[32]byte]bool{}
	err = eachLine(r, func(line int, text []byte) error {
		report.Read++
		records, wrong := f.records(text)
		fresh := false
		for _, rec := range records {
			id := rec.identity()
			if seen[id] {
				continue
			}
			seen[id] = true
			var e *InvalidError
			switch err := emit(rec); {
			case err == nil:
				fresh = true
			case errors.As(err, &e):
				wrong = err
			case !errors.Is(err, ErrConflict):
				return &LineError{line, err}
			}
		}
		switch {
		case fresh:
			report.Imported++
		case wrong == nil:
			report.Duplicates++
		default:
			if report.Rejected++; len(report.Reasons) < maxReasons {
				report.Reasons = append(report.Reasons, &LineError{line, wrong})
			}
		}
		return nil
	})
	return report, err
}

func formatNamed(name string) (Format, error) {
	for _, f := range formats {
		if f.Name == name {
			return f, nil
		}
	}
	return Format{}, invalid("format", "%q is none of %s", name, strings.Join(FormatNames(), ", "))
}

// records parses one line and checks what came out.
func (f Format) records(text []byte) ([]Record, error) {
	o, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	list, err := f.parse(o)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("no ranking")
	}
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, err
		}
	}
	return list, nil
}
