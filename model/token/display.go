package token

import "strings"

// display is what a decoder makes of tokens.
type display struct {
	byteLevel bool        // tokens are spelled in byte letters
	replace   [][2]string // in each token
	fallback  bool        // <0x0A> is the byte
	trimSpace bool        // the one leading space of a text goes
	suffix    string      // ends a word: a space, but for the last of a text
}

// newDisplay carries out a decoder. A byte-level tokenizer needs none: its tokens are
// what they are.
func newDisplay(p *hfPart, byteLevel bool) (display, error) {
	d := display{byteLevel: byteLevel}
	if p == nil {
		if !byteLevel {
			return d, unsupported("decoder", "there is none")
		}
		return d, nil
	}
	parts := []hfPart{*p}
	if p.Type == "Sequence" {
		parts = p.Decoders
	}
	fused := false
	for i := range parts {
		p := &parts[i]
		switch {
		case p.Type == "ByteLevel" && byteLevel:
		case byteLevel:
			return d, unsupported("decoder", "%q of a byte-level model", p.Type)
		case p.Type == "Replace" && !fused && p.Pattern != nil && p.Pattern.String != nil && *p.Pattern.String != "":
			d.replace = append(d.replace, [2]string{*p.Pattern.String, or(p.Content, "")})
		case p.Type == "ByteFallback":
			d.fallback = true
		case p.Type == "Fuse":
			fused = true
		case p.Type == "Strip" && fused && or(p.Content, "") == " " && or(p.Start, 0) <= 1 && or(p.Stop, 0) == 0:
			d.trimSpace = or(p.Start, 0) == 1
		case p.Type == "Metaspace":
			d.replace = append(d.replace, [2]string{or(p.Replacement, lowerBlock), " "})
			d.trimSpace = or(p.PrependScheme, "always") != "never" && or(p.AddPrefixSpace, true)
		case p.Type == "BPEDecoder" && len(parts) == 1:
			d.suffix = or(p.Suffix, "</w>")
		default:
			return d, unsupported("decoder", "%q, or what it is told to do", p.Type)
		}
	}
	return d, nil
}

// bytes is what a token adds to a text, by its spelling in the vocabulary.
func (d *display) bytes(piece string) []byte {
	if d.fallback {
		if b, ok := bytePiece(piece); ok {
			return []byte{b}
		}
	}
	for _, r := range d.replace {
		piece = strings.ReplaceAll(piece, r[0], r[1])
	}
	if d.suffix != "" {
		piece = strings.ReplaceAll(piece, d.suffix, " ")
	}
	return []byte(piece)
}
