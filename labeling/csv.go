package labeling

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
)

// Pairs as CSV, the columns of pairs.go in their order. A prompt of several turns has no
// place in it, nor has text with CR LF, which readers of CSV make LF.

type csvEncoder struct {
	w    *csv.Writer
	head bool
}

func encodeCSV(w io.Writer) encoder { return &csvEncoder{w: csv.NewWriter(w)} }

func (e *csvEncoder) write(p RankedPrompt) (int, error) {
	if err := e.begin(); err != nil {
		return 0, err
	}
	prompt := p.Prompt
	if n := len(p.Messages); n > 1 || n == 1 && p.Messages[0].Role != "user" {
		return 0, nil
	} else if n == 1 {
		prompt = p.Messages[0].Content
	}
	for _, c := range p.Completions {
		if strings.Contains(c.Text+prompt, "\r\n") {
			return 0, nil
		}
	}
	n, err := eachPair(p, func(k LabelerRanking, a, b, label int) error {
		return e.w.Write([]string{prompt, p.Completions[a].Text, p.Completions[b].Text, strconv.Itoa(label), k.LabelerID, p.CustomerID, p.Split})
	})
	if err == nil {
		e.w.Flush()
		err = e.w.Error()
	}
	return n, err
}

func (e *csvEncoder) begin() error {
	if e.head {
		return nil
	}
	e.head = true
	return e.w.Write([]string{"prompt", "response_a", "response_b", "label", "labeler", "customer", "split"})
}

func (e *csvEncoder) close() error {
	err := e.begin()
	e.w.Flush()
	if err == nil {
		err = e.w.Error()
	}
	return err
}
