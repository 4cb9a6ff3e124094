package checkpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/rankloop/rankloop/model/token"
)

// llama2cTokenizer reads a tokenizer of vocab ids: a tokenizer.model, or where the name
// ends in .bin the file that llama2.c makes of one.
func llama2cTokenizer(path string, vocab int) (token.Tokenizer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxSmall:
		return nil, invalid("tokenizer", "over the limit of %d bytes", maxSmall)
	case strings.EqualFold(filepath.Ext(path), ".bin"):
		if data, err = sentencePieceModel(data, vocab); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "tokenizer-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), data, 0o600); err != nil {
		return nil, err
	}
	return token.Load(dir)
}

// sentencePieceModel turns llama2.c's tokenizer.bin into a tokenizer.model. It is an
// int32, the length of the longest token, then for each id a float32 score, an int32
// length and that many bytes, in which llama2.c's tokenizer.py has put a space for
// "▁" and line ends around <s> and </s>. The kinds of pieces are not in the file: 0 is
// <unk>, 1 and 2 are control tokens, "<0x00>" to "<0xFF>" are bytes, as in Llama's.
func sentencePieceModel(data []byte, vocab int) ([]byte, error) {
	const (
		unknown, control, bytePiece, normal = 2, 3, 6, 1 // ModelProto.SentencePiece.Type
		bpe                                 = 2          // TrainerSpec.ModelType
	)
	le := binary.LittleEndian
	if len(data) < 4 {
		return nil, corrupt("tokenizer.bin: %d bytes", len(data))
	}
	var out []byte
	rest := data[4:]
	for id := range vocab {
		if len(rest) < 8 || uint64(le.Uint32(rest[4:])) > uint64(len(rest)-8) {
			return nil, corrupt("tokenizer.bin ends at token %d of %d", id, vocab)
		}
		score, n := math.Float32frombits(le.Uint32(rest)), int(le.Uint32(rest[4:]))
		text := string(rest[8 : 8+n])
		rest = rest[8+n:]
		kind := byte(normal)
		switch {
		case id == 0:
			kind = unknown
		case id <= 2:
			kind, text = control, strings.Trim(text, "\n")
		case isByteName(text):
			kind = bytePiece
		default:
			text = strings.ReplaceAll(text, " ", "▁")
		}
		piece := append(field(1, []byte(text)), 2<<3|5)
		piece = append(le.AppendUint32(piece, math.Float32bits(score)), 3<<3, kind)
		out = append(out, field(1, piece)...)
	}
	if len(rest) > 0 {
		return nil, corrupt("tokenizer.bin goes on after %d tokens: does it belong to this model?", vocab)
	}
	trainer := []byte{3 << 3, bpe, 0x98, 0x02, 1} // model_type; field 35, byte_fallback
	return append(out, field(2, trainer)...), nil
}

// field is a length-delimited field of protobuf.
func field(number byte, content []byte) []byte {
	return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(content))), content...)
}

// isByteName says whether a piece stands for one byte.
func isByteName(text string) bool {
	var b byte
	n, err := fmt.Sscanf(text, "<0x%02X>", &b)
	return n == 1 && err == nil && len(text) == len("<0x00>")
}
