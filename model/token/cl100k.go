package token

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"sync"
)

// cl100kMerges holds OpenAI's cl100k_base (github.com/openai/tiktoken, MIT licence) as
// the merges that its ranks mean, gzipped; _gen/cl100k.go makes it. Token 256+i is
// made of the tokens left[i] and right[i]. The file has six planes of a byte for each
// i: the low, middle and high bytes of all left, then of all right. The first 256
// tokens are the bytes in the order of byteOrder.
//
//go:embed cl100k_merges.gz
var cl100kMerges []byte

// CL100K is cl100k_base, the tokenizer of GPT-3.5 and GPT-4: 100,277 ids, of which
// 100256 and 100261 to 100275 are not used. Special tokens are <|endoftext|> (100257),
// <|fim_prefix|>, <|fim_middle|> and <|fim_suffix|> (100258 to 100260) and
// <|endofprompt|> (100276).
func CL100K() Tokenizer { return cl100k() }

var cl100k = sync.OnceValue(func() Tokenizer {
	t, err := parseCL100K(cl100kMerges)
	if err != nil {
		panic("token: the embedded vocabulary is broken: " + err.Error())
	}
	return t
})

func parseCL100K(packed []byte) (*bpe, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	planes, err := io.ReadAll(io.LimitReader(z, maxFile))
	if err != nil {
		return nil, err
	}
	n := len(planes) / 6
	part := func(i, plane int) int32 {
		return int32(planes[plane*n+i]) | int32(planes[(plane+1)*n+i])<<8 | int32(planes[(plane+2)*n+i])<<16
	}
	tokens := make([][]byte, 256, 256+n)
	for i := range tokens {
		tokens[i] = byteOrder[i : i+1]
	}
	merges := make([]merge, n)
	var text []byte // of all tokens, one piece of memory
	for i := range n {
		m := merge{part(i, 0), part(i, 3), int32(len(tokens))}
		if m.left >= m.into || m.right >= m.into {
			return nil, invalid("merges", "token %d is made of later ones", m.into)
		}
		begin := len(text)
		text = append(append(text, tokens[m.left]...), tokens[m.right]...)
		tokens = append(tokens, text[begin:len(text):len(text)])
		merges[i] = m
	}
	var added []hfAdded
	for _, x := range []struct {
		offset int32
		name   string
	}{{1, EndOfText}, {2, "<|fim_prefix|>"}, {3, "<|fim_middle|>"}, {4, "<|fim_suffix|>"}, {20, "<|endofprompt|>"}} {
		added = append(added, hfAdded{ID: int32(len(tokens)) + x.offset, Content: x.name, Special: true})
	}
	t, err := newBPE(byteLevelSplitSpec(cl100kRegex, added...), vocabulary{tokens: tokens, merges: merges})
	if err != nil {
		return nil, err
	}
	t.setEnds(config{})
	return t, nil
}
