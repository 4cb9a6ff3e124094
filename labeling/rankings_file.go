package labeling

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
)

// The native format, rankings.jsonl: one ranking a line,
//
//	{"prompt": "..." or [{"role":..,"content":..}, ...], "completions": ["..", ".."], "ranks": [1, 2],
//	 "labeler": "..", "customer": "..", "split": "train",
//	 "prompt_ids": [..], "completion_ids": [[..], [..]], "tokenizer": "digest"}
//
// Everything after ranks is optional. Unknown fields are refused. Rankings of the same
// prompt and completions by several labelers are several lines.

func parseRecord(o object) ([]Record, error) {
	if err := o.only("prompt", "completions", "ranks", "labeler", "customer", "split", "prompt_ids", "completion_ids", "tokenizer"); err != nil {
		return nil, err
	}
	var r Record
	if raw := bytes.TrimSpace(o["prompt"]); len(raw) > 0 && raw[0] == '[' {
		var turns []object
		if err := need(o, "prompt", &turns); err != nil {
			return nil, err
		}
		for i, t := range turns {
			var m Message
			err := t.only("role", "content")
			if err == nil {
				err = need(t, "role", &m.Role)
			}
			if err == nil {
				err = need(t, "content", &m.Content)
			}
			if err != nil {
				if e, ok := err.(*InvalidError); ok {
					e.Field = fmt.Sprintf("prompt[%d].%s", i, e.Field)
				}
				return nil, err
			}
			r.Messages = append(r.Messages, m)
		}
		if len(r.Messages) == 0 {
			return nil, invalid("prompt", "empty")
		}
	} else if err := need(o, "prompt", &r.Prompt); err != nil {
		return nil, err
	}
	for _, err := range []error{need(o, "completions", &r.Completions), need(o, "ranks", &r.Ranks)} {
		if err != nil {
			return nil, err
		}
	}
	for _, step := range []func() (bool, error){
		func() (bool, error) { return field(o, "labeler", &r.Labeler) },
		func() (bool, error) { return field(o, "customer", &r.Customer) },
		func() (bool, error) { return field(o, "split", &r.Split) },
		func() (bool, error) { return field(o, "prompt_ids", &r.PromptIDs) },
		func() (bool, error) { return field(o, "completion_ids", &r.CompletionIDs) },
		func() (bool, error) { return field(o, "tokenizer", &r.Tokenizer) },
	} {
		if _, err := step(); err != nil {
			return nil, err
		}
	}
	return []Record{r}, nil
}

// ReadRankings reads rankings.jsonl, plain or gzip, whole. It is strict: the first line
// that is wrong is a LineError that names the field.
func ReadRankings(r io.Reader) ([]Record, error) {
	f, err := formatNamed("rankings")
	if err != nil {
		return nil, err
	}
	var list []Record
	err = eachLine(r, func(line int, text []byte) error {
		records, err := f.records(text)
		if err != nil {
			return &LineError{line, err}
		}
		list = append(list, records...)
		return nil
	})
	return list, err
}

// RankingsWriter writes rankings.jsonl; demonstrations and prompts become the lines
// {"prompt", "completion"} and {"prompt"} that the format trl reads.
type RankingsWriter struct {
	w    io.Writer
	line []byte
}

// NewRankingsWriter writes to w, unbuffered: one Write a line.
func NewRankingsWriter(w io.Writer) *RankingsWriter { return &RankingsWriter{w: w} }

// Write writes one record. The same record gives the same bytes.
func (w *RankingsWriter) Write(r Record) error {
	if err := r.check(); err != nil {
		return err
	}
	for i, c := range r.Completions {
		if err := CheckText(fmt.Sprintf("completions[%d]", i), c); err != nil {
			return err
		}
	}
	for name, s := range map[string]string{"prompt": r.Prompt, "labeler": r.Labeler, "customer": r.Customer} {
		if err := CheckText(name, s); err != nil {
			return err
		}
	}
	w.line = append(r.appendTo(w.line[:0]), '\n')
	_, err := w.w.Write(w.line)
	return err
}

// appendTo adds the record as the JSON of its line.
func (r Record) appendTo(b []byte) []byte {
	b = append(b, `{"prompt":`...)
	if len(r.Messages) > 0 {
		b = appendMessages(b, r.Messages)
	} else {
		b = appendText(b, r.Prompt)
	}
	switch r.Kind {
	case Demonstrated:
		b = appendText(append(b, `,"completion":`...), r.Completions[0])
	case Ranked:
		b = append(b, `,"completions":`...)
		for i, c := range r.Completions {
			b = appendText(append(b, [2]byte{'[', ','}[min(i, 1)]), c)
		}
		b = appendNumbers(append(b, `],"ranks":`...), r.Ranks)
	}
	for _, f := range []struct{ name, value string }{{"labeler", r.Labeler}, {"customer", r.Customer}, {"split", r.Split}} {
		if f.value != "" {
			b = appendText(append(appendText(append(b, ','), f.name), ':'), f.value)
		}
	}
	if len(r.PromptIDs) > 0 {
		b = appendNumbers(append(b, `,"prompt_ids":`...), r.PromptIDs)
	}
	if len(r.CompletionIDs) > 0 {
		b = append(b, `,"completion_ids":`...)
		for i, ids := range r.CompletionIDs {
			b = appendNumbers(append(b, [2]byte{'[', ','}[min(i, 1)]), ids)
		}
		b = append(b, ']')
	}
	if r.Tokenizer != "" {
		b = appendText(append(b, `,"tokenizer":`...), r.Tokenizer)
	}
	return append(b, '}')
}

func appendNumbers[T int | int32](b []byte, list []T) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(v), 10)
	}
	return append(b, ']')
}

type rankingsEncoder struct{ w *RankingsWriter }

func encodeRankings(w io.Writer) encoder { return rankingsEncoder{NewRankingsWriter(w)} }

func (e rankingsEncoder) write(p RankedPrompt) (int, error) {
	list := p.Records()
	for _, r := range list {
		if err := e.w.Write(r); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

func (rankingsEncoder) close() error { return nil }

// Records are the lines of rankings.jsonl that a ranked prompt becomes, one a labeler.
// Token ids go along where all completions have ids of the same tokenizer.
func (p RankedPrompt) Records() []Record {
	base := Record{Prompt: p.Prompt, Messages: p.Messages, Customer: p.CustomerID, Split: p.Split}
	digest := p.Completions[0].TokenizerDigest
	same := digest != ""
	for _, c := range p.Completions {
		base.Completions = append(base.Completions, c.Text)
		base.CompletionIDs = append(base.CompletionIDs, c.TokenIDs)
		same = same && c.TokenizerDigest == digest && len(c.TokenIDs) > 0
	}
	if same {
		base.Tokenizer = digest
	} else {
		base.CompletionIDs = nil
	}
	if p.TokenizerDigest != "" && (p.TokenizerDigest == base.Tokenizer || base.Tokenizer == "") {
		base.PromptIDs, base.Tokenizer = p.PromptIDs, p.TokenizerDigest
	}
	var list []Record
	for _, k := range p.Rankings {
		r := base
		r.Ranks, r.Labeler = k.Ranks, k.LabelerID
		list = append(list, r)
	}
	return list
}

// GroupRecords gathers the rankings of the same prompt and completions, in the order in
// which they first appear, as the reward loss wants them: one element a prompt. The ids
// are hashes of the content. A record without a split takes that of its group.
func GroupRecords(records []Record) []RankedPrompt {
	var list []RankedPrompt
	at := map[[32]byte]int{}
	for _, r := range records {
		g := r.group()
		i, ok := at[g]
		if !ok {
			i = len(list)
			at[g] = i
			prompt := promptHash(r.conversation())
			p := RankedPrompt{TaskID: hex.EncodeToString(g[:16]), PromptID: hex.EncodeToString(prompt[:16]), Prompt: r.Prompt,
				Messages: r.conversation(), PromptIDs: r.PromptIDs, Split: r.Split}
			if p.Prompt == "" {
				p.Prompt = r.Messages[len(r.Messages)-1].Content
			}
			if len(r.PromptIDs) > 0 {
				p.TokenizerDigest = r.Tokenizer
			}
			for j, c := range r.Completions {
				v := RankedCompletion{Text: c}
				if r.CompletionIDs != nil && len(r.CompletionIDs[j]) > 0 {
					v.TokenIDs, v.TokenizerDigest = r.CompletionIDs[j], r.Tokenizer
				}
				p.Completions = append(p.Completions, v)
			}
			list = append(list, p)
		}
		if list[i].Split == "" {
			list[i].Split = r.Split
		}
		if list[i].CustomerID == "" {
			list[i].CustomerID = r.Customer
		}
		list[i].Rankings = append(list[i].Rankings, LabelerRanking{LabelerID: r.Labeler, Ranks: r.Ranks})
	}
	return list
}

// rankingsFile is a file of records in memory.
func rankingsFile(list []Record) (*bytes.Reader, error) {
	var b bytes.Buffer
	w := NewRankingsWriter(&b)
	for _, r := range list {
		if err := w.Write(r); err != nil {
			return nil, err
		}
	}
	return bytes.NewReader(b.Bytes()), nil
}
