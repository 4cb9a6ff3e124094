package labeling

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
)

// MaxCompletions bounds the completions of one record of a file. What people rank is
// bounded by MaxAnswers.
const MaxCompletions = 64

// Kind says what a record of a file is.
type Kind uint8

const (
	Ranked       Kind = iota // a prompt, completions and their ranks
	Demonstrated             // a prompt and the one completion that a person wrote for it
	Asked                    // a prompt alone
)

// Record is one ranking, demonstration or prompt as a file carries it.
type Record struct {
	Kind          Kind
	Prompt        string    // "" where Messages is given
	Messages      []Message // the conversation that the completions answer
	Completions   []string
	Ranks         []int // competition ranks
	Labeler       string
	Customer      string // who brought the prompt, "" where nobody is known
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
	switch r.Kind {
	case Asked:
		if k > 0 {
			return invalid("completions", "%d given with a prompt that was only asked", k)
		}
	case Demonstrated:
		if k != 1 {
			return invalid("completions", "%d given, a demonstration has one", k)
		}
	default:
		if k < MinAnswers || k > MaxCompletions {
			return invalid("completions", "%d given, %d to %d are wanted", k, MinAnswers, MaxCompletions)
		}
	}
	// An answer may be empty, and people rank it; but not all of them, nor one to learn from.
	if k > 0 && !slices.ContainsFunc(r.Completions, func(c string) bool { return strings.TrimSpace(c) != "" }) && len(r.CompletionIDs) == 0 {
		return invalid("completions", "empty")
	}
	if r.Kind == Ranked {
		if len(r.Ranks) != k {
			return invalid("ranks", "%d given for %d completions", len(r.Ranks), k)
		}
		var err error
		if r.Ranks, err = Canonical(r.Ranks); err != nil {
			return err
		}
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

// format is a kind of file. A new one is a file of this room with its functions, and a
// row in the table formats.
type format struct {
	name   string
	parse  func(o object) ([]Record, error) // of one line; nil: it is only written
	detect func(o object) bool              // whether a file that begins with o is one; nil: never told by itself
	encode func(w io.Writer) encoder        // nil: it is only read
	suffix string                           // of a file that is written, with the dot
}

// formats is the table of all formats. The first that recognises a file's first record
// reads it.
var formats = []format{
	{"rankings", parseRecord, has("completions", "ranks"), encodeRankings, ".jsonl"},
	{"hh", parseHH, isHH, encodeHH, ".jsonl"},
	{"oasst", parseOASST, isOASST, encodeOASST, ".jsonl"},
	{"labelstudio", parseLabelStudio, has("data", "annotations"), encodeLabelStudio, ".json"},
	{"argilla", parseArgilla, has("fields", "responses"), encodeArgilla, ".json"},
	{"pairs", pairPresets[""].parse, isPairs, encodePairs, ".jsonl"},
	{"csv", pairPresets[""].parse, nil, encodeCSV, ".csv"},
	{"instructions", parseInstruction, isInstruction, nil, ""},
	{"trl", parseTRL, isTRL, encodeTRL, ".jsonl"},
	{"parquet", parseTRL, nil, encodeParquet, ".parquet"},
}

// has tells whether a record has all the fields.
func has(fields ...string) func(o object) bool {
	return func(o object) bool {
		for _, f := range fields {
			if _, ok := o[f]; !ok {
				return false
			}
		}
		return true
	}
}

// FormatNames lists the formats that Import reads.
func FormatNames() []string {
	var names []string
	for _, f := range formats {
		if f.parse != nil {
			names = append(names, f.name)
		}
	}
	return names
}

// ExportNames lists the formats that Export writes.
func ExportNames() []string {
	var names []string
	for _, f := range formats {
		if f.encode != nil {
			names = append(names, f.name)
		}
	}
	return names
}

func formatNamed(name string) (format, error) {
	for _, f := range formats {
		if f.name == name {
			return f, nil
		}
	}
	return format{}, invalid("format", "%q is none of %s", name, strings.Join(FormatNames(), ", "))
}

// records parses one line and checks what came out.
func (f format) records(text []byte) ([]Record, error) {
	o, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	list, err := f.parse(o)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, invalid("", "no ranking")
	}
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, err
		}
	}
	return list, nil
}
