package labeling

import (
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kinds of personal data.
const (
	PIIEmail      = "email"
	PIIPhone      = "phone"
	PIICard       = "card"    // payment card, by Luhn's check digit
	PIIIBAN       = "iban"    // ISO 13616, by its check digits (mod 97)
	PIIIP         = "ip"      // public address, IPv4 or IPv6
	PIINationalID = "id"      // national identity number, by its check digit where it has one
	PIIAddress    = "address" // street with house number
	PIIName       = "name"    // where the text itself says that it is one
	PIISecret     = "secret"  // key, token, password
)

// PIISpan is one find: text[Start:End], in bytes.
type PIISpan struct {
	Kind  string `json:"kind"`
	Start int    `json:"start"`
	End   int    `json:"end"`
}

// piiRule finds one kind. Capture group 1, where there is one, is what counts; check
// looks at what a pattern cannot.
type piiRule struct {
	kind  string
	needs marks // what the text must have at all for the pattern to be tried
	re    *regexp.Regexp
	check func(s string) bool
}

// marks are what a text is looked at for, in one pass, before any pattern is tried: what every text lacks that its rules could
// find something in. A pattern costs microseconds a line, and most lines have a few digits.
type marks uint32

const (
	hasAt     marks = 1 << iota // an @
	hasDigits                   // a run of two digits, or a house number's word
	hasColon                    // two colons
	hasSecret                   // a word that secrets begin with or follow
	hasName                     // a phrase that names follow
	hasIBAN                     // two capitals, then two digits
	hasCard                     // 13 digits
	hasRun9                     // nine digits in a row
	hasRun17                    // 17 of them
	hasDashed                   // nine digits and a dash
	hasPairs                    // six digits
	hasDots                     // three dots, and three digits in a row
	hasPlus                     // nine digits and a plus
	hasPhone                    // ten digits, four of them in a row
	hasTaiwan                   // nine digits, with a zero
	hasStreet                   // digits, and a word for a street
	hasHouse                    // a house number's word in Chinese
	everyMark = hasHouse<<1 - 1
)

var secretMarks = []string{"sk-", "rl-", "rk_live_", "sk_live_", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "xoxa-", "AKIA", "ASIA", "AIza", "eyJ", "hf_", "npm_", "-----BEGIN", "assword", "密碼"}

var nameMarks = []string{"y name is ", "y full name is ", "我叫", "我的名字是", "姓名"}

// piiRules in the order in which they win over each other where their finds overlap.
var piiRules = []piiRule{
	{PIISecret, hasSecret, regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), nil},
	{PIISecret, hasSecret, regexp.MustCompile(`\b(?:sk-(?:proj-|ant-)?[A-Za-z0-9_-]{20,}|rl-[A-Za-z0-9_-]{24,}|[rs]k_live_[A-Za-z0-9]{16,}|gh[pos]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}|glpat-[A-Za-z0-9_-]{20,}|xox[bpa]-[A-Za-z0-9-]{20,}|A[KS]IA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36})`), varied},
	{PIISecret, hasSecret, regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`), nil},
	{PIISecret, hasSecret, regexp.MustCompile(`(?:[Pp]assword|密碼)(?: is|:|=|是|:)[ \t]*["']?([^\s"'<>,;。,]{6,64})`), mixed},
	{PIIEmail, hasAt, regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b`), nil},
	{PIIIBAN, hasIBAN, regexp.MustCompile(`\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b`), isIBAN},
	{PIICard, hasCard, regexp.MustCompile(`\b[2-6][0-9]{3}(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,7}\b|\b3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5}\b`), isCard},
	{PIINationalID, hasRun9, regexp.MustCompile(`\b[A-Z][1289][0-9]{8}\b`), isTaiwanID},
	{PIINationalID, hasRun17, regexp.MustCompile(`\b[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]\b`), isChinaID},
	{PIINationalID, hasDashed, regexp.MustCompile(`\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b`), isSSN},
	{PIINationalID, hasPairs, regexp.MustCompile(`\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]\b`), isNINO},
	{PIIIP, hasDots, regexp.MustCompile(`\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b`), isPublicIP},
	{PIIIP, hasColon, regexp.MustCompile(`[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}`), isPublicIP},
	{PIIPhone, hasPlus, regexp.MustCompile(`\+[1-9][0-9]{0,2}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?[0-9](?:[ .-]?[0-9]){6,12}\b`), isInternational},
	{PIIPhone, hasPhone, regexp.MustCompile(`\([2-9][0-9]{2}\) ?[2-9][0-9]{2}-[0-9]{4}\b|\b[2-9][0-9]{2}([-.])[2-9][0-9]{2}[-.][0-9]{4}\b`), nil},
	{PIIPhone, hasTaiwan, regexp.MustCompile(`\b09[0-9]{2}-?[0-9]{3}-?[0-9]{3}\b|\(0[2-8][0-9]?\) ?[2-8][0-9]{2,3}-?[0-9]{4}\b|\b0[2-8]-[2-8][0-9]{2,3}-[0-9]{4}\b`), nil},
	{PIIAddress, hasStreet, regexp.MustCompile(`\b[1-9][0-9]{0,4} (?:[NSEW]\.? )?(?:[A-Z][a-z]+ ){1,3}(?:Street|St\.|Avenue|Ave\.|Road|Rd\.|Boulevard|Blvd\.|Lane|Drive|Court|Terrace|Highway)(?:[ ,]|$|\.)`), nil},
	{PIIAddress, hasHouse, regexp.MustCompile(`(?:(?:[臺台][北中南東]|新北|桃園|高雄|基隆|新竹|嘉義|苗栗|彰化|南投|雲林|屏東|宜蘭|花蓮|澎湖|金門|連江)[縣市])?[\p{Han}]{2}[區鄉鎮市][\p{Han}]{1,6}(?:路|街|大道)(?:[一二三四五六七八九十0-9]{1,2}段)?(?:[0-9]{1,4}巷)?(?:[0-9]{1,4}弄)?[0-9]{1,4}(?:之[0-9]{1,3})?號(?:[0-9]{1,3}樓)?(?:之[0-9]{1,3})?`), nil},
	{PIIName, hasName, regexp.MustCompile(`\b[Mm]y (?:full )?name is ([A-Z](?:[a-z]+|')(?:[-']?[A-Z][a-z]+)*(?: [A-Z]\.)?(?: [A-Z](?:[a-z]+|')(?:[-']?[A-Z][a-z]+)*){1,3})`), nil},
	{PIIName, hasName, regexp.MustCompile(`(?:我叫|我的名字是|姓名[::是])[ \t]*([\p{Han}]{2,4})(?:[,。,.!!\s]|$)`), isHanName},
}

var streetMarks = []string{"Street", "St.", "Avenue", "Ave.", "Road", "Rd.", "Boulevard", "Blvd.", "Lane", "Drive", "Court", "Terrace", "Highway"}

// looked says which rules a text is worth trying on.
func looked(text string) marks {
	var has marks
	digits, run, longest, capitals, colons, dots := 0, 0, 0, 0, 0, 0
	zero, dash, plus := false, false, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if '0' <= c && c <= '9' {
			digits++
			run++
			longest = max(longest, run)
			zero = zero || c == '0'
			if run == 2 && capitals >= 2 {
				has |= hasIBAN
			}
			continue
		}
		if run > 0 {
			run, capitals = 0, 0
		}
		if 'A' <= c && c <= 'Z' {
			capitals++
			continue
		}
		capitals = 0
		switch c {
		case '@':
			has |= hasAt
		case ':':
			colons++
		case '.':
			dots++
		case '-':
			dash = true
		case '+':
			plus = true
		}
	}
	contains := func(s string) bool { return strings.Contains(text, s) }
	house := digits > 0 && contains("號")
	for _, m := range []struct {
		mark marks
		is   bool
	}{
		{hasColon, colons >= 2}, {hasDigits, longest >= 2 || house}, {hasCard, digits >= 13}, {hasRun9, longest >= 9}, {hasRun17, longest >= 17},
		{hasDashed, digits >= 9 && dash}, {hasPairs, digits >= 6}, {hasDots, dots >= 3 && longest >= 3}, {hasPlus, digits >= 9 && plus},
		{hasPhone, digits >= 10 && longest >= 4}, {hasTaiwan, digits >= 9 && zero}, {hasHouse, house},
		{hasSecret, slices.ContainsFunc(secretMarks, contains)}, {hasName, slices.ContainsFunc(nameMarks, contains)},
	} {
		if m.is {
			has |= m.mark
		}
	}
	if has&hasDigits != 0 && slices.ContainsFunc(streetMarks, contains) {
		has |= hasStreet
	}
	return has
}

// FindPII lists the personal data in a text, in its order and without overlaps. It finds
// what is certain by form or check digit: a name or street only where the text says so.
func FindPII(text string) []PIISpan { return findPII(text, looked(text)) }

// findPII tries the rules that want what a text has.
func findPII(text string, has marks) []PIISpan {
	var found []PIISpan
	for _, rule := range piiRules {
		if has&rule.needs == 0 {
			continue
		}
		for _, at := range rule.re.FindAllStringSubmatchIndex(text, -1) {
			s := PIISpan{rule.kind, at[0], at[1]}
			if rule.kind != PIIPhone && len(at) >= 4 && at[2] >= 0 {
				s.Start, s.End = at[2], at[3]
			}
			if rule.kind == PIIAddress {
				s.End = s.Start + len(strings.TrimRight(text[s.Start:s.End], " ,."))
			}
			if !bounded(text, s) || rule.check != nil && !rule.check(text[s.Start:s.End]) {
				continue
			}
			if !slices.ContainsFunc(found, func(o PIISpan) bool { return s.Start < o.End && o.Start < s.End }) {
				found = append(found, s)
			}
		}
	}
	slices.SortFunc(found, func(a, b PIISpan) int { return a.Start - b.Start })
	return found
}

// bounded tells whether a find stands by itself: numbers that go on before or after are
// parts of something else (a version, a decimal, an order number).
func bounded(text string, s PIISpan) bool {
	switch s.Kind {
	case PIISecret, PIIEmail, PIIName, PIIAddress:
		return true
	}
	before, _ := utf8.DecodeLastRuneInString(text[:s.Start])
	after, size := utf8.DecodeRuneInString(text[s.End:])
	next, _ := utf8.DecodeRuneInString(text[s.End+size:])
	latin := func(r rune) bool { return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || r == '_' }
	digit := func(r rune) bool { return '0' <= r && r <= '9' }
	if latin(before) || latin(after) || before == '-' || before == '/' || before == '#' || before == '.' || before == ':' && s.Kind == PIIIP {
		return false
	}
	return !((after == '.' || after == '-' || after == ':' && s.Kind == PIIIP) && digit(next))
}

// Redact puts [EMAIL], [PHONE] and so on in place of personal data. The spans are those of
// the text as it was. What is redacted once has nothing left to redact.
func Redact(text string) (string, []PIISpan) {
	spans := FindPII(text)
	if len(spans) == 0 {
		return text, nil
	}
	var b strings.Builder
	end := 0
	for _, s := range spans {
		b.WriteString(text[end:s.Start])
		b.WriteString("[" + strings.ToUpper(s.Kind) + "]")
		end = s.End
	}
	b.WriteString(text[end:])
	return b.String(), spans
}

// digitsOf are the digits of s; letters count from 10 where letters is set.
func digitsOf(s string, letters bool) []int {
	var d []int
	for _, r := range s {
		switch {
		case '0' <= r && r <= '9':
			d = append(d, int(r-'0'))
		case letters && 'A' <= r && r <= 'Z':
			d = append(d, int(r-'A')+10)
		}
	}
	return d
}

// isCard: 13 to 19 digits that pass Luhn's check, of a known issuer's first digits, and
// not one digit over and over.
func isCard(s string) bool {
	d := digitsOf(s, false)
	if len(d) < 13 || len(d) > 19 || slices.Max(d) == slices.Min(d) {
		return false
	}
	sum := 0
	for i := range d {
		v := d[len(d)-1-i]
		if i%2 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	head := d[0]*1000 + d[1]*100 + d[2]*10 + d[3]
	issuer := d[0] == 4 || head >= 5100 && head < 5600 || head >= 2221 && head <= 2720 || head/100 == 34 || head/100 == 37 ||
		head == 6011 || head/100 == 65 || head/100 == 62 || head/100 == 35 || head/100 == 36 || head/100 == 30
	return issuer && sum%10 == 0
}

// ibanLengths by country (SWIFT's registry).
var ibanLengths = map[string]int{"AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24,
	"FI": 18, "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27,
	"MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TR": 26, "UA": 29}

func isIBAN(s string) bool {
	s = strings.ReplaceAll(s, " ", "")
	if len(s) != ibanLengths[s[:2]] {
		return false
	}
	rest := 0
	for _, v := range digitsOf(s[4:]+s[:4], true) {
		if v > 9 {
			rest = (rest*100 + v) % 97
		} else {
			rest = (rest*10 + v) % 97
		}
	}
	return rest == 1
}

// taiwanLetters are the numbers of the letters A to Z, the places of registration.
var taiwanLetters = [26]int{10, 11, 12, 13, 14, 15, 16, 17, 34, 18, 19, 20, 21, 22, 35, 23, 24, 25, 26, 27, 28, 29, 32, 30, 31, 33}

// isTaiwanID: national and (8, 9) resident numbers, weights 1 9 8 7 6 5 4 3 2 1 1.
func isTaiwanID(s string) bool {
	n := taiwanLetters[s[0]-'A']
	sum := n/10 + n%10*9
	for i, v := range digitsOf(s[1:], false) {
		weight := 8 - i
		if weight < 1 {
			weight = 1
		}
		sum += v * weight
	}
	return sum%10 == 0
}

// isChinaID: GB 11643, the last character by ISO 7064 mod 11-2.
func isChinaID(s string) bool {
	sum, weight := 0, 1
	for i := 17; i >= 0; i-- {
		v := 10
		if c := s[i]; c != 'X' && c != 'x' {
			v = int(c - '0')
		}
		sum, weight = sum+v*weight, weight*2%11
	}
	return sum%11 == 1
}

// isSSN: no area 000, 666 or from 900, no group 00, no serial 0000.
func isSSN(s string) bool {
	return s[:3] != "000" && s[:3] != "666" && s[0] != '9' && s[4:6] != "00" && s[7:] != "0000"
}

func isNINO(s string) bool {
	return !slices.Contains([]string{"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}, s[:2])
}

// isPublicIP leaves out the addresses that name nobody: private, local, of documentation;
// and four small numbers, which are as well a version or a section.
func isPublicIP(s string) bool {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, block := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "100.64.0.0/10", "0.0.0.0/8", "2001:db8::/32"} {
		if netip.MustParsePrefix(block).Contains(a) {
			return false
		}
	}
	if !a.Is4() {
		return netip.MustParsePrefix("2000::/3").Contains(a)
	}
	small := !slices.ContainsFunc(strings.Split(s, "."), func(octet string) bool { return len(octet) == 3 })
	return !small
}

func isInternational(s string) bool {
	n := len(digitsOf(s, false))
	return n >= 9 && n <= 15
}

// varied: enough different characters that nobody typed it as an example ("sk-xxxx").
func varied(s string) bool {
	count := map[rune]int{}
	for _, r := range s {
		count[r]++
	}
	bits := 0.0
	for _, n := range count {
		p := float64(n) / float64(len(s))
		bits -= p * math.Log2(p)
	}
	return bits > 3
}

// mixed: letters and something else, as passwords are and the words of a sentence are not.
func mixed(s string) bool {
	return strings.IndexFunc(s, unicode.IsLetter) >= 0 && strings.IndexFunc(s, func(r rune) bool { return unicode.IsDigit(r) || strings.ContainsRune("!#$%^&*_+=~", r) }) >= 0
}

// hanSurnames are the commonest: they cover nine of ten people in Taiwan.
const hanSurnames = "陳林黃張李王吳劉蔡楊許鄭謝郭洪曾邱廖賴周徐蘇葉莊呂江何蕭羅高潘簡朱鍾彭游詹胡施沈余趙盧梁顏柯孫魏翁戴范宋方鄧杜傅侯曹溫薛丁馬蔣唐卓藍馮姚石董紀歐程連古汪湯姜田康鄒白涂尤巫韓龔嚴袁鐘黎金阮陸倪夏童邵錢"

func isHanName(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return strings.ContainsRune(hanSurnames, first)
}
