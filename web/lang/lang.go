// Package lang has the languages that the pages speak. An English sentence is the key of its translations; a catalogue
// (<tag>.json) has one sentence a line, sorted. Nothing here knows a page.
package lang

import (
	"embed"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
)

//go:embed *.json
var catalogues embed.FS

// Language turns English sentences into one language, and writes its dates and numbers.
type Language struct {
	Tag  string // BCP 47, such as zh-Hant
	Name string // in the language itself
	Tiny string // the same, for narrow screens

	sentences map[string]string // nil: English
	patterns  []pattern         // the sentences that hold values, the most telling first
	date      string            // layout of package time
	units     [3]string         // of hours, minutes and seconds
	gap       string            // between the units of a duration
	field     string            // a field's name and what is wrong with it
}

// Languages are all of them, English first.
type Languages []*Language

// Load reads the catalogues.
func Load() (Languages, error) {
	all := Languages{
		{Tag: "en", Name: "English", Tiny: "EN", date: "2006-01-02 15:04:05", units: [3]string{"h", "m", "s"}, field: "%s: %s"},
		{Tag: "zh-Hant", Name: "繁體中文", Tiny: "中文", date: "2006/01/02 15:04:05", units: [3]string{" 小時", " 分", " 秒"}, gap: " ", field: "%s：%s"},
	}
	for _, l := range all[1:] {
		b, err := catalogues.ReadFile(l.Tag + ".json")
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &l.sentences); err != nil {
			return nil, fmt.Errorf("catalogue %s: %w", l.Tag, err)
		}
		for key := range l.sentences {
			if len(Verbs(key)) > 0 {
				l.patterns = append(l.patterns, newPattern(key))
			}
		}
		slices.SortFunc(l.patterns, func(a, b pattern) int {
			if a.letters != b.letters {
				return b.letters - a.letters
			}
			return strings.Compare(a.key, b.key)
		})
	}
	return all, nil
}

// ByTag is the language with the tag; nil: there is none.
func (all Languages) ByTag(tag string) *Language {
	for _, l := range all {
		if l.Tag == tag {
			return l
		}
	}
	return nil
}

// Choose is the first language of an Accept-Language header that is spoken here, else English. The script decides what
// Chinese is meant: zh-TW, zh-HK and zh-MO are written in Hant, zh and zh-CN in Hans, which is not spoken here.
func (all Languages) Choose(header string) *Language {
	wanted, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return all[0]
	}
	for _, w := range wanted {
		base, _ := w.Base()
		script, _ := w.Script()
		for _, l := range all {
			own := language.MustParse(l.Tag)
			ownBase, _ := own.Base()
			ownScript, _ := own.Script()
			if base == ownBase && script == ownScript {
				return l
			}
		}
	}
	return all[0]
}

// T is the sentence in this language, with its values filled in as fmt.Sprintf does.
func (l *Language) T(sentence string, values ...any) string {
	if s, ok := l.sentences[sentence]; ok {
		sentence = s
	}
	if len(values) == 0 {
		return sentence
	}
	return fmt.Sprintf(sentence, values...)
}

// TN is T of a sentence that counts n things; further values follow n. The key is the plural.
func (l *Language) TN(one, many string, n int, values ...any) string {
	values = append([]any{n}, values...)
	if n == 1 && l.sentences == nil {
		return fmt.Sprintf(one, values...)
	}
	return l.T(many, values...)
}

// HTML is T of a sentence with marks; the sentence is trusted, its values are not.
func (l *Language) HTML(sentence string, values ...any) template.HTML {
	if s, ok := l.sentences[sentence]; ok {
		sentence = s
	}
	safe := make([]any, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case int, int64, float64:
			safe[i] = v
		default:
			safe[i] = html.EscapeString(fmt.Sprint(v))
		}
	}
	if len(safe) == 0 {
		return template.HTML(sentence)
	}
	return template.HTML(fmt.Sprintf(sentence, safe...))
}

// Found translates a sentence that another room has put together in English: it is recognised by its words, and its values
// move over. One that is not in the catalogue stays as it is.
func (l *Language) Found(text string) string { return l.found(text, 2) }

func (l *Language) found(text string, depth int) string {
	if s, ok := l.sentences[text]; ok || depth == 0 || len(text) > 1000 {
		if ok {
			return s
		}
		return text
	}
	for _, p := range l.patterns {
		values := p.shape.FindStringSubmatch(text)
		if values == nil {
			continue
		}
		values = values[1:]
		for i, v := range values {
			values[i] = l.found(v, depth-1)
		}
		return fill(l.sentences[p.key], values)
	}
	return text
}

// Field is what is wrong with a field.
func (l *Language) Field(name, reason string) string {
	return fmt.Sprintf(l.field, name, l.Found(reason))
}

// Words are those of the sentences that this language has a translation of.
func (l *Language) Words(sentences []string) map[string]string {
	out := map[string]string{}
	for _, s := range sentences {
		if w, ok := l.sentences[s]; ok {
			out[s] = w
		}
	}
	return out
}

// Time is a moment in UTC, to the second.
func (l *Language) Time(t time.Time) string { return t.UTC().Format(l.date) }

// Date is its day.
func (l *Language) Date(t time.Time) string {
	day, _, _ := strings.Cut(l.Time(t), " ")
	return day
}

// Percent is a share of 1, in hundredths.
func (l *Language) Percent(share float64) string {
	return strconv.FormatFloat(100*share, 'f', 1, 64) + "%"
}

// Duration is s seconds.
func (l *Language) Duration(s float64) string {
	total := int64(s + 0.5)
	var parts []string
	for i, n := range []int64{total / 3600, total / 60 % 60, total % 60} {
		if n > 0 {
			parts = append(parts, strconv.FormatInt(n, 10)+l.units[i])
		}
	}
	if len(parts) == 0 {
		return "0" + l.units[2]
	}
	return strings.Join(parts, l.gap)
}

// verb is a value's place in a sentence, with the number of the value where the order is not that of the places.
var verb = regexp.MustCompile(`%[-+# 0]*\d*(?:\.\d+)?(?:\[(\d+)\])?([a-zA-Z])|%%`)

// Verbs are the places of values in a sentence, in the order of the values.
func Verbs(sentence string) []string {
	var out []string
	at := map[int]string{}
	n := 0
	for _, m := range verb.FindAllStringSubmatch(sentence, -1) {
		if m[0] == "%%" {
			continue
		}
		n++
		if m[1] != "" {
			n, _ = strconv.Atoi(m[1])
			m[0] = strings.Replace(m[0], "["+m[1]+"]", "", 1)
		}
		at[n] = m[0]
	}
	for i := 1; i <= len(at); i++ {
		out = append(out, at[i])
	}
	return out
}

// pattern recognises a sentence with its values in it.
type pattern struct {
	key     string
	shape   *regexp.Regexp
	letters int // outside of values
}

func newPattern(key string) pattern {
	var b strings.Builder
	p := pattern{key: key}
	at := 0
	literal := func(s string) {
		b.WriteString(regexp.QuoteMeta(s))
		p.letters += len(s)
	}
	for _, m := range verb.FindAllStringSubmatchIndex(key, -1) {
		literal(key[at:m[0]])
		at = m[1]
		if m[4] < 0 {
			literal("%")
			continue
		}
		switch key[m[4]:m[5]] {
		case "d":
			b.WriteString(`(-?\d+)`)
		case "f", "g", "e":
			b.WriteString(`([-+.\deE]+)`)
		case "q":
			b.WriteString(`("(?:[^"\\]|\\.)*")`)
		default:
			b.WriteString(`(.+)`)
		}
	}
	literal(key[at:])
	p.shape = regexp.MustCompile("^(?s:" + b.String() + ")$")
	return p
}

// fill puts texts into the places of a sentence.
func fill(sentence string, values []string) string {
	n := 0
	return verb.ReplaceAllStringFunc(sentence, func(place string) string {
		if place == "%%" {
			return "%"
		}
		n++
		if m := verb.FindStringSubmatch(place); m[1] != "" {
			n, _ = strconv.Atoi(m[1])
		}
		if n < 1 || n > len(values) {
			return place
		}
		return values[n-1]
	})
}
