package token

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// The part of sentencepiece_model.proto that a BPE model needs, read by hand: the
// format is a list of (field number, wire type, value), and a parser that knows its
// message is shorter and stricter than a general one.

// Types of pieces (ModelProto.SentencePiece.Type).
const (
	pieceNormal  = 1
	pieceUnknown = 2
	pieceControl = 3
	pieceByte    = 6
)

type piece struct {
	text  string
	score float32
	kind  uint64
}

type modelProto struct {
	pieces       []piece
	modelType    uint64 // 1 unigram, 2 BPE, 3 word, 4 char
	byteFallback bool
	suffix       bool
	bosPiece     string
	eosPiece     string
	normalizer   string
	charsMap     []byte
	dummyPrefix  bool
	escape       bool
}

// parseModelProto reads a tokenizer.model. Fields it does not know are passed over,
// as the format wants; what is cut off or of the wrong wire type is refused.
func parseModelProto(raw []byte) (*modelProto, error) {
	m := &modelProto{modelType: 1, bosPiece: "<s>", eosPiece: "</s>", dummyPrefix: true, escape: true}
	err := eachField("tokenizer.model", raw, func(f field) error {
		switch f.number {
		case 1:
			if len(m.pieces) == maxVocab {
				return invalid("pieces", "more than %d", maxVocab)
			}
			p, err := parsePiece(f)
			m.pieces = append(m.pieces, p)
			return err
		case 2:
			return m.trainerSpec(f)
		case 3:
			return m.normalizerSpec(f)
		}
		return nil
	})
	return m, err
}

func parsePiece(f field) (piece, error) {
	p := piece{kind: pieceNormal}
	err := f.message("pieces", func(f field) (err error) {
		switch f.number {
		case 1:
			p.text, err = f.string("pieces.piece")
		case 2:
			p.score, err = f.float("pieces.score")
		case 3:
			p.kind, err = f.varint("pieces.type")
		}
		return err
	})
	if err == nil && (math.IsNaN(float64(p.score)) || math.IsInf(float64(p.score), 0)) {
		err = invalid("pieces.score", "%g is not finite", p.score)
	}
	return p, err
}

func (m *modelProto) trainerSpec(f field) error {
	return f.message("trainer_spec", func(f field) (err error) {
		switch f.number {
		case 3:
			m.modelType, err = f.varint("trainer_spec.model_type")
		case 24:
			m.suffix, err = f.bool("trainer_spec.treat_whitespace_as_suffix")
		case 35:
			m.byteFallback, err = f.bool("trainer_spec.byte_fallback")
		case 46:
			m.bosPiece, err = f.string("trainer_spec.bos_piece")
		case 47:
			m.eosPiece, err = f.string("trainer_spec.eos_piece")
		}
		return err
	})
}

func (m *modelProto) normalizerSpec(f field) error {
	return f.message("normalizer_spec", func(f field) (err error) {
		switch f.number {
		case 1:
			m.normalizer, err = f.string("normalizer_spec.name")
		case 2:
			m.charsMap, err = f.bytes("normalizer_spec.precompiled_charsmap")
		case 3:
			m.dummyPrefix, err = f.bool("normalizer_spec.add_dummy_prefix")
		case 5:
			m.escape, err = f.bool("normalizer_spec.escape_whitespaces")
		}
		return err
	})
}

// field is one (number, wire type, value) of a message.
type field struct {
	number uint64
	wire   uint64 // 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes
	value  uint64 // of wire type 0
	data   []byte
}

// eachField walks over the fields of a message.
func eachField(name string, b []byte, f func(field) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 >= 1<<29 {
			return invalid(name, "broken field tag")
		}
		b = b[n:]
		v := field{number: tag >> 3, wire: tag & 7}
		size := 0
		switch v.wire {
		case 0:
			if v.value, size = binary.Uvarint(b); size <= 0 {
				return invalid(name, "field %d: broken number", v.number)
			}
		case 1:
			size = 8
		case 5:
			size = 4
		case 2:
			length, n := binary.Uvarint(b)
			if n <= 0 || length > uint64(len(b)-n) {
				return invalid(name, "field %d is longer than the file", v.number)
			}
			b = b[n:]
			size = int(length)
		default:
			return invalid(name, "field %d has the unknown wire type %d", v.number, v.wire)
		}
		if size > len(b) {
			return invalid(name, "field %d is cut off", v.number)
		}
		v.data, b = b[:size], b[size:]
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

func (f field) wants(name string, wire uint64) error {
	if f.wire != wire {
		return invalid(name, "wire type %d where %d belongs", f.wire, wire)
	}
	return nil
}

func (f field) message(name string, each func(field) error) error {
	if err := f.wants(name, 2); err != nil {
		return err
	}
	return eachField(name, f.data, each)
}

func (f field) bytes(name string) ([]byte, error) { return f.data, f.wants(name, 2) }

func (f field) string(name string) (string, error) {
	if err := f.wants(name, 2); err != nil {
		return "", err
	}
	if !utf8.Valid(f.data) {
		return "", invalid(name, "not UTF-8")
	}
	return string(f.data), nil
}

func (f field) varint(name string) (uint64, error) { return f.value, f.wants(name, 0) }

func (f field) bool(name string) (bool, error) { return f.value != 0, f.wants(name, 0) }

func (f field) float(name string) (float32, error) {
	if err := f.wants(name, 5); err != nil {
		return 0, err
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(f.data)), nil
}
