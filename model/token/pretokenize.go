package token

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// splitter cuts a text into the words in which tokens are merged. first says that the
// text is the beginning of the whole.
type splitter func(text string, first bool, yield func(word string))

// knownPatterns are the regular expressions that are matched, by code.
var knownPatterns = map[string]pattern{
	`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`: patternGPT2,
	cl100kRegex: patternCL100K,
	strings.Replace(cl100kRegex, `\p{N}{1,3}`, `\p{N}`, 1): patternQwen2,
	// The same with alternatives drawn together and possessive quantifiers.
	`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`:         patternCL100K,
	`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s`: patternCL100K,
}

const cl100kRegex = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// newSplitter carries out a pre_tokenizer; byteLevel says that the model's units are
// bytes. Without one the text is a single word.
func newSplitter(p *hfPart) (split splitter, byteLevel bool, err error) {
	if p == nil {
		return oneWord, false, nil
	}
	switch p.Type {
	case "Sequence":
		return sequence(p.PreTokenizers)
	case "ByteLevel":
		split = oneWord
		if or(p.UseRegex, true) {
			split = patternSplitter(patternGPT2)
		}
		if or(p.AddPrefixSpace, true) {
			split = then(spaceBefore, split)
		}
		return split, true, nil
	case "Split":
		split, err = regexSplitter(p)
	case "Metaspace":
		split, err = metaspace(p)
	case "Digits":
		split = digits(or(p.IndividualDigits, false))
	case "Whitespace":
		split = runs(func(r rune) int {
			switch {
			case isSpace(r):
				return dropped
			case isWord(r):
				return 1
			}
			return 2
		})
	case "WhitespaceSplit":
		split = runs(func(r rune) int {
			if isSpace(r) {
				return dropped
			}
			return 1
		})
	case "BertPreTokenizer":
		split = runs(func(r rune) int {
			switch {
			case isSpace(r):
				return dropped
			case isPunctuation(r):
				return alone
			}
			return 1
		})
	default:
		return nil, false, unsupported("pre_tokenizer", "%q", p.Type)
	}
	return split, false, err
}

// sequence carries out one splitter after the other. ByteLevel spells words in its
// letters, which the others would not expect: it has to be the last.
func sequence(parts []hfPart) (splitter, bool, error) {
	all, bytes := splitter(oneWord), false
	for i := range parts {
		s, b, err := newSplitter(&parts[i])
		if err != nil {
			return nil, false, err
		}
		if bytes {
			return nil, false, unsupported("pre_tokenizer", "%q after ByteLevel", parts[i].Type)
		}
		if i > 0 && parts[i].Type == "Metaspace" && or(parts[i].PrependScheme, "") == "first" {
			return nil, false, unsupported("pre_tokenizer", "Metaspace with prepend_scheme first after another")
		}
		all, bytes = then(all, s), b
	}
	return all, bytes, nil
}

// then cuts by a and what comes of it by b.
func then(a, b splitter) splitter {
	return func(text string, first bool, yield func(string)) {
		a(text, first, func(word string) {
			b(word, first, yield)
			first = false
		})
	}
}

func oneWord(text string, _ bool, yield func(string)) {
	if text != "" {
		yield(text)
	}
}

func patternSplitter(p pattern) splitter {
	return func(text string, _ bool, yield func(string)) { p.words(text, yield) }
}

func spaceBefore(text string, _ bool, yield func(string)) {
	if text != "" && text[0] != ' ' {
		text = " " + text
	}
	oneWord(text, false, yield)
}

// regexSplitter carries out Split. All patterns match all of a text, so that it comes
// to the same whether the matches are kept or what lies between them is removed.
func regexSplitter(p *hfPart) (splitter, error) {
	if p.Pattern == nil || p.Pattern.Regex == nil {
		return nil, unsupported("pre_tokenizer", "Split at a string")
	}
	known, ok := knownPatterns[*p.Pattern.Regex]
	if !ok {
		return nil, unsupported("pre_tokenizer", "Split at %q", *p.Pattern.Regex)
	}
	invert := or(p.Invert, false)
	if !(p.Behavior == "Isolated" || p.Behavior == "Removed" && invert) {
		return nil, unsupported("pre_tokenizer", "Split with the behavior %q, invert %t", p.Behavior, invert)
	}
	return patternSplitter(known), nil
}

// metaspace writes spaces as a visible character, may put one in front, and may cut
// before each.
func metaspace(p *hfPart) (splitter, error) {
	mark := or(p.Replacement, lowerBlock)
	scheme := or(p.PrependScheme, "always")
	if !or(p.AddPrefixSpace, true) { // older files
		scheme = "never"
	}
	if utf8.RuneCountInString(mark) != 1 || !slices.Contains([]string{"always", "first", "never"}, scheme) {
		return nil, unsupported("pre_tokenizer", "Metaspace with the replacement %q, prepend_scheme %q", mark, scheme)
	}
	cut := or(p.Split, true)
	return func(text string, first bool, yield func(string)) {
		text = strings.ReplaceAll(text, " ", mark)
		if text != "" && !strings.HasPrefix(text, mark) && (scheme == "always" || scheme == "first" && first) {
			text = mark + text
		}
		for cut {
			i := strings.Index(text[min(1, len(text)):], mark)
			if i < 0 {
				break
			}
			yield(text[:i+1])
			text = text[i+1:]
		}
		oneWord(text, first, yield)
	}, nil
}

// digits cuts numbers from the rest, each figure for itself or all of a run together.
func digits(individual bool) splitter {
	return runs(func(r rune) int {
		switch {
		case runeClass(r) != number:
			return 1
		case individual:
			return alone
		}
		return 2
	})
}

// Kinds of characters beside the numbers of runs.
const (
	dropped = -1 // belongs to no word
	alone   = -2 // a word for itself
)

// runs cuts where the kind of the characters changes.
func runs(kind func(rune) int) splitter {
	return func(text string, _ bool, yield func(string)) {
		from, last := 0, dropped
		end := func(at int) {
			if from < at && last != dropped {
				yield(text[from:at])
			}
			from = at
		}
		for i, r := range text {
			if k := kind(r); k != last || k == alone {
				end(i)
				last = k
			}
		}
		end(len(text))
	}
}
