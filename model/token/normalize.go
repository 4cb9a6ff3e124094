package token

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites a text before it is cut into words.
type normalizer func(string) string

// newNormalizer carries out a normalizer; nil where there is none.
func newNormalizer(p *hfPart) (normalizer, error) {
	if p == nil {
		return nil, nil
	}
	switch p.Type {
	case "Sequence":
		var all []normalizer
		for i := range p.Normalizers {
			n, err := newNormalizer(&p.Normalizers[i])
			if err != nil {
				return nil, err
			}
			all = append(all, n)
		}
		return func(s string) string {
			for _, n := range all {
				s = n(s)
			}
			return s
		}, nil
	case "NFC":
		return norm.NFC.String, nil
	case "NFD":
		return norm.NFD.String, nil
	case "NFKC":
		return norm.NFKC.String, nil
	case "NFKD":
		return norm.NFKD.String, nil
	case "Lowercase":
		return lowercase, nil
	case "Prepend":
		prefix := or(p.Prepend, "")
		return func(s string) string {
			if s == "" {
				return s
			}
			return prefix + s
		}, nil
	case "Replace":
		if p.Pattern == nil || p.Pattern.String == nil || *p.Pattern.String == "" {
			return nil, unsupported("normalizer", "Replace of a regular expression")
		}
		from, to := *p.Pattern.String, or(p.Content, "")
		return func(s string) string { return strings.ReplaceAll(s, from, to) }, nil
	case "Strip":
		left, right := or(p.StripLeft, true), or(p.StripRight, true)
		return func(s string) string {
			if left {
				s = strings.TrimLeftFunc(s, isSpace)
			}
			if right {
				s = strings.TrimRightFunc(s, isSpace)
			}
			return s
		}, nil
	case "BertNormalizer":
		return bertNormalizer(p), nil
	}
	return nil, unsupported("normalizer", "%q", p.Type)
}

// lowercase makes each character small for itself: no final sigma, and the dotted
// capital I becomes an i and a dot above.
func lowercase(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "\u0130", "i\u0307"))
}

// bertNormalizer is the normaliser of BERT, which GPT-1's tokenizer uses too: control
// characters go, white space becomes spaces, Chinese characters stand alone, accents
// go, letters become small.
func bertNormalizer(p *hfPart) normalizer {
	clean, chinese, lower := or(p.CleanText, true), or(p.HandleChineseChars, true), or(p.Lowercase, true)
	accents := or(p.StripAccents, lower)
	return func(s string) string {
		if clean {
			s = strings.Map(func(r rune) rune {
				switch {
				case r == '\t' || r == '\n' || r == '\r':
					return ' '
				case r == unicode.ReplacementChar || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co):
					return -1
				case isSpace(r):
					return ' '
				}
				return r
			}, s)
		}
		if chinese {
			var b strings.Builder
			for _, r := range s {
				if isChinese(r) {
					b.WriteByte(' ')
					b.WriteRune(r)
					b.WriteByte(' ')
				} else {
					b.WriteRune(r)
				}
			}
			s = b.String()
		}
		if accents {
			s = strings.Map(func(r rune) rune {
				if unicode.Is(unicode.Mn, r) {
					return -1
				}
				return r
			}, norm.NFD.String(s))
		}
		if lower {
			s = lowercase(s)
		}
		return s
	}
}

// isChinese says what BERT's tokenizers take for a Chinese character. The gap before
// U+2B920 is theirs.
func isChinese(r rune) bool {
	for _, block := range [][2]rune{{0x4e00, 0x9fff}, {0x3400, 0x4dbf}, {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
		{0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff}, {0x2f800, 0x2fa1f}} {
		if block[0] <= r && r <= block[1] {
			return true
		}
	}
	return false
}
