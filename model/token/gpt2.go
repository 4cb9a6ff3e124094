package token

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"strings"
	"sync"
)

// gpt2Merges is OpenAI's vocab.bpe, gzipped: a version line, then the 50,000 merges
// of GPT-2 in order of rank (github.com/openai/gpt-2, MIT licence). The vocabulary
// follows from it: the 256 bytes in the order of byteOrder, then what each merge
// makes, then <|endoftext|>.
//
//go:embed gpt2_merges.gz
var gpt2Merges []byte

// EndOfText is the one special token of GPT-2, id 50256: it ends a text.
const EndOfText = "<|endoftext|>"

// GPT2 is the tokenizer of GPT-2, 50,257 ids.
func GPT2() Tokenizer { return gpt2() }

var gpt2 = sync.OnceValue(func() Tokenizer {
	t, err := parseGPT2(gpt2Merges)
	if err != nil {
		panic("token: the embedded vocabulary is broken: " + err.Error())
	}
	return t
})

func parseGPT2(packed []byte) (Tokenizer, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(z, maxFile))
	if err != nil {
		return nil, err
	}
	lines, err := mergeLines(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	b := newVocabBuilder()
	for _, l := range lines {
		if err := b.merge(l[0], l[1]); err != nil {
			return nil, err
		}
	}
	spec := byteLevelSpec(hfAdded{ID: int32(len(b.tokens)), Content: EndOfText, Special: true})
	t, err := newBPE(spec, vocabulary{tokens: b.tokens, merges: b.merges})
	if err != nil {
		return nil, err
	}
	t.setEnds(config{})
	return t, nil
}

// vocabBuilder numbers tokens as GPT-2 does: bytes, then merges in order.
type vocabBuilder struct {
	tokens [][]byte
	merges []merge
	ids    map[string]int32 // by bytes
}

func newVocabBuilder() *vocabBuilder {
	b := &vocabBuilder{ids: map[string]int32{}}
	for _, v := range byteOrder {
		b.ids[string([]byte{v})] = int32(len(b.tokens))
		b.tokens = append(b.tokens, []byte{v})
	}
	return b
}

// merge adds the token made of two that are there, given in byte letters.
func (b *vocabBuilder) merge(left, right string) error {
	l, okL := fromLetters(left)
	r, okR := fromLetters(right)
	i, haveL := b.ids[string(l)]
	j, haveR := b.ids[string(r)]
	if !okL || !okR || !haveL || !haveR {
		return invalid("merges", "%q %q: a part is not a token", left, right)
	}
	whole := string(l) + string(r)
	if _, twice := b.ids[whole]; twice {
		return invalid("merges", "%q %q: the result is there already", left, right)
	}
	into := int32(len(b.tokens))
	b.ids[whole] = into
	b.tokens = append(b.tokens, []byte(whole))
	b.merges = append(b.merges, merge{i, j, into})
	return nil
}

// mergeLines reads merges.txt: a first line "#version: .." may be there, then two
// tokens per line.
func mergeLines(r io.Reader) ([][2]string, error) {
	var out [][2]string
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), 4*maxToken)
	for first := true; s.Scan(); first = false {
		line := strings.TrimSuffix(s.Text(), "\r")
		if line == "" || first && strings.HasPrefix(line, "#version") {
			continue
		}
		pair, err := mergeLine(line)
		if err != nil {
			return nil, err
		}
		if len(out) == maxVocab {
			return nil, invalid("merges", "more than %d", maxVocab)
		}
		out = append(out, pair)
	}
	if err := s.Err(); err != nil {
		return nil, invalid("merges", "%v", err)
	}
	return out, nil
}

func mergeLine(line string) ([2]string, error) {
	left, right, ok := strings.Cut(line, " ")
	if !ok || left == "" || right == "" || strings.Contains(right, " ") {
		return [2]string{}, invalid("merges", "line %q is not two tokens", line)
	}
	return [2]string{left, right}, nil
}
