package train

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rankloop/rankloop/model/token"
)

// Rows delivers the rows of a run in order, those that are held out marked; it may be called again and delivers the same.
type Rows func(f func(row Row, held bool) error) error

// Input names the files of a run and how they are read.
type Input struct {
	Reading
	Data []string `json:"data"` // files
	// Valid are files of held-out rows. Without them every n-th row of Data is held out, so that ValidShare of them are.
	Valid      []string `json:"valid,omitempty"`
	ValidShare float64  `json:"valid_share"`
}

// Rows reads the files.
func (in Input) Rows(f func(row Row, held bool) error) error {
	if err := in.Validate(); err != nil {
		return err
	}
	if len(in.Data) == 0 {
		return invalid("data", "it names no file")
	}
	if !(in.ValidShare >= 0 && in.ValidShare < 1) {
		return invalid("valid_share", "%g is not in [0,1)", in.ValidShare)
	}
	n := 0.0
	for _, file := range in.Data {
		err := in.Each(file, func(row Row) error {
			n++
			return f(row, len(in.Valid) == 0 && int(n*in.ValidShare) > int((n-1)*in.ValidShare))
		})
		if err != nil {
			return err
		}
	}
	return in.HeldOut(f)
}

// HeldOut reads the files of held-out rows alone.
func (in Input) HeldOut(f func(row Row, held bool) error) error {
	for _, file := range in.Valid {
		if err := in.Each(file, func(row Row) error { return f(row, true) }); err != nil {
			return err
		}
	}
	return nil
}

// Texts yields the text that a new tokenizer is trained on; *err is set where the rows end with an error.
func (r Rows) Texts(err *error) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		enough := errors.New("enough")
		e := r(func(row Row, held bool) error {
			texts := []string{row.Text, row.Prompt, row.Completion}
			for _, m := range row.Messages {
				texts = append(texts, m.Content)
			}
			for _, t := range texts {
				if t != "" && !held && !yield(t) {
					return enough
				}
			}
			return nil
		})
		if !errors.Is(e, enough) {
			*err = e
		}
	}
}

// Encode makes the sequences of a run. kinds are the rows that it takes; a nil template takes prompts as they are. dropped
// counts rows that are empty or do not fit the context.
func (r Rows) Encode(tok token.Tokenizer, template token.ChatTemplate, context int, kinds ...Kind) (train, valid *Masked, dropped int, err error) {
	a := &Encoder{Tokenizer: tok, Template: template, Context: context}
	b := &Encoder{Tokenizer: tok, Template: template, Context: context}
	err = r(func(row Row, held bool) error {
		for _, k := range kinds {
			if k != row.Kind {
				continue
			}
			if held {
				return b.Add(row)
			}
			return a.Add(row)
		}
		return invalid("data", "the rows are %v; this training takes %v", row.Kind, kinds)
	})
	return &a.Data, &b.Data, a.Dropped + b.Dropped, err
}

// Names of the files of a dataset folder.
const (
	trainName   = "train.jsonl"
	validName   = "valid.jsonl"
	summaryName = "dataset.json"
)

// Summary says what a dataset folder holds.
type Summary struct {
	Train int      `json:"train"` // rows
	Valid int      `json:"valid"` // rows held out
	Bytes int64    `json:"bytes"`
	Files []string `json:"files"` // names of the files that the rows came from
}

// Write puts the rows into an existing folder as JSON lines of this package's own form, so that equal rows make equal
// folders whatever files they came from.
func (r Rows) Write(dir string, files []string) (s Summary, err error) {
	for _, f := range files {
		s.Files = append(s.Files, filepath.Base(f))
	}
	var out [2]*bufio.Writer
	for i, name := range []string{trainName, validName} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return s, err
		}
		defer f.Close()
		out[i] = bufio.NewWriter(f)
	}
	err = r(func(row Row, held bool) error {
		line, err := json.Marshal(row)
		if err != nil {
			return err
		}
		s.Bytes += int64(len(line)) + 1
		to := out[0]
		if held {
			to = out[1]
			s.Valid++
		} else {
			s.Train++
		}
		if _, err := to.Write(line); err != nil {
			return err
		}
		return to.WriteByte('\n')
	})
	if err = errors.Join(err, out[0].Flush(), out[1].Flush()); err != nil {
		return s, err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return s, err
	}
	return s, os.WriteFile(filepath.Join(dir, summaryName), append(b, '\n'), 0o600)
}

// OpenDataset reads back what Write has put into a folder.
func OpenDataset(dir string) (Rows, Summary, error) {
	var s Summary
	b, err := os.ReadFile(filepath.Join(dir, summaryName))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return nil, s, fmt.Errorf("dataset: %w", err)
	}
	return func(f func(row Row, held bool) error) error {
		for i, name := range []string{trainName, validName} {
			if err := (Reading{Format: "jsonl"}).Each(filepath.Join(dir, name), func(row Row) error { return f(row, i == 1) }); err != nil {
				return fmt.Errorf("dataset: %w", err)
			}
		}
		return nil
	}, s, nil
}
