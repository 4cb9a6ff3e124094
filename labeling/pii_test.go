package labeling

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPIIHits: what stands between ‹ and › is found as the kind, and nothing else.
func TestPIIHits(t *testing.T) {
	for kind, texts := range map[string][]string{
		PIIEmail: {"Write to ‹ann.b+c@mail.example.co.uk›.", "寄到‹wang@example.com.tw›,謝謝", "<‹a1@x-y.org›>", "mailto:‹bo@example.com›?subject=x"},
		PIIPhone: {"Call ‹+886 2 2345 6789›!", "‹(202) 555-0143› at noon", "‹202-555-0143›", "手機‹0912-345-678›或‹0912345678›", "‹(02) 2345-6789›", "‹(03) 456-7890›", "‹02-2345-6789›", "‹+44 20 7946 0958›", "tel ‹+1 (202) 555-0143›"},
		PIICard:  {"card ‹4111 1111 1111 1111›", "‹5500-0000-0000-0004›", "‹378282246310005›", "卡號‹4012888888881881›。"},
		PIIIBAN:  {"to ‹DE89 3704 0044 0532 0130 00›", "‹GB82WEST12345698765432›", "‹NO9386011117947›"},
		PIIIP:    {"from ‹93.184.216.34›.", "host ‹2606:2800:220:1:248:1893:25c8:1946›"},
		PIINationalID: {"身分證‹A123456789›", "‹F131104093›", "SSN ‹123-45-6789›", "‹11010519491231002X›", "NI ‹AB 12 34 56 C›",
			"居留證‹A800000014›"},
		PIIAddress: {"I live at ‹742 Evergreen Terrace›, Springfield", "‹10 Downing Street›", "住在‹臺北市信義區松高路11號5樓›", "‹板橋區文化路一段100巷2弄7號›"},
		PIIName:    {"My name is ‹John Smith›.", "Hi, my full name is ‹Mary-Ann O'Neil Jones› and", "我叫‹王小明›。", "姓名:‹陳怡君›"},
		PIISecret: {"key ‹sk-proj-aB3dE5fG7hJ9kL1mN3pQ5rS7tU9v›", "‹AKIAIOSFODNN7EXAMPLE›", "‹ghp_16C7e42F292c6912E7710c838347Ae178B4a›", "my password is ‹hunter2!x›", "password: ‹Tr0ub4dor&3›",
			"‹eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U›", "‹-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----›"},
	} {
		for _, marked := range texts {
			text := strings.NewReplacer("‹", "", "›", "").Replace(marked)
			var want, got []string
			for _, part := range strings.Split(marked, "‹")[1:] {
				want = append(want, kind+" "+part[:strings.Index(part, "›")])
			}
			for _, s := range FindPII(text) {
				got = append(got, s.Kind+" "+text[s.Start:s.End])
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: found %q, want %q", marked, got, want)
			}
		}
	}
}

// TestPIINearMisses: nothing personal in any of these.
func TestPIINearMisses(t *testing.T) {
	for _, text := range []string{
		"ann at example dot com", "@mention and a@b", "user@localhost", "price: $4,111.11", "π = 3.14159265358979323846",
		"2024-01-02 to 2025-12-31", "between 1990-2000", "version 10.2.33.4-5", "1.2.3.4", "v1.20.300.4000", "8.8.8.8", "192.168.0.1 and 10.0.0.7 and 127.0.0.1", "ISBN 978-3-16-148410-0",
		"4111 1111 1111 1112", "1234 5678 9012 3456", "0000 0000 0000 0000", "order 4111111111111111222333444", "phone number", "555-1234", "12345678901234567890",
		"DE89 3704 0044 0532 0130 01", "GB82 WEST", "A123456788", "B999999999", "000-12-3456", "666-12-3456", "123-00-4567", "110105194912310021",
		"12:34:56", "a::b", "std::vector<int>", "ab:cd", "10:20:30:40", "sk-learn", "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxx", "password is required", "Password: the user types it", "eyJust a word",
		"My name is important", "my name is on the list", "What is in a name?", "我叫他過來。", "我叫天不應", "The 5 Great Lakes", "in 1984 Winston", "3 Blind Mice",
		"on Main Street", "台北市很大", "第11號", "文化路", "他走了100號", "f(202)555", "x = 202-555", "1/2/2024", "0912", "09 12 34 56", "+1", "+ 3 4 5 6 7 8 9 0", "1,234,567,890",
		"[EMAIL] [PHONE] [CARD] [IBAN] [IP] [ID] [ADDRESS] [NAME] [SECRET]", "RFC 2119 3.1.4.1", "2001:db8::1", "::1", "fe80::1",
	} {
		for _, s := range FindPII(text) {
			t.Errorf("%q: %s %q", text, s.Kind, text[s.Start:s.End])
		}
	}
}

func TestRedact(t *testing.T) {
	got, spans := Redact("Mail ann@example.com or call +886 912 345 678; card 4111-1111-1111-1111.")
	if want := "Mail [EMAIL] or call [PHONE]; card [CARD]."; got != want || len(spans) != 3 {
		t.Errorf("%q, %v", got, spans)
	}
	parts := rapid.SampledFrom([]string{"ann@example.com", "+886912345678", "A123456789", " ", "4111 1111 1111 1111", "-", "1", "é明", "10.9.8.7", ".", "93.184.216.34", "my name is ", "Ann Lee", "[", "\n", ":", "x"})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(parts).Draw(t, "parts"), "")
		once, spans := Redact(text)
		last := 0
		for _, s := range spans {
			if s.Start < last || s.End <= s.Start || s.End > len(text) {
				t.Fatalf("%q: %v", text, spans)
			}
			last = s.End
		}
		for range 3 { // what one redaction sets free of its neighbours the next finds
			once, _ = Redact(once)
		}
		if again, left := Redact(once); again != once {
			t.Fatalf("%q: %q left %v", text, once, left)
		}
	})
}

// TestLooked: what a text is looked at for spares patterns that find nothing, never one that finds something. The former
// rule of a street wants two digits in a row (a chapter's "5 Main Street" is not an address).
func TestLooked(t *testing.T) {
	parts := []string{"ann@example.com", "+886 912 345 678", "A123456789", "12", "AB", " ", "4111 1111 1111 1111", "-", "1", "號", "93.184.216.34", "my name is ", "Ann Lee", "\n", ":",
		"DE89 3704 0044 0532 0130 00", "11010519491231002X", "123-45-6789", "AB 12 34 56 C", "(202) 555-0143", "202.555.0143", "0912-345-678", "(02) 2345-6789", "02-2345-6789", "742 Evergreen Terrace", "10 Downing Street",
		"板橋區文化路一段100巷2弄", "2606:2800:220:1:248:1893:25c8:1946", "hf_", "x", "09", ".", "8", "GB82WEST12345698765432", "+1 (202) 555-0143", "378282246310005", "我叫王小明", "Road"}
	find := func(text string) (got, want []PIISpan) {
		all := everyMark
		if looked(text)&hasDigits == 0 {
			all &^= hasStreet
		}
		return FindPII(text), findPII(text, all)
	}
	found := 0
	for _, text := range parts {
		got, want := find(text)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %v, all rules find %v", text, got, want)
		}
		found += len(got)
	}
	if found < 20 {
		t.Errorf("only %d of the parts are found", found)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(rapid.SampledFrom(parts)).Draw(t, "parts"), "")
		if got, want := find(text); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q: %v, all rules find %v", text, got, want)
		}
	})
}

// TestPIIIsLinear: a long text of near misses takes time in proportion to its length.
func TestPIIIsLinear(t *testing.T) {
	for _, piece := range []string{"1", "a@", "1.1.", "::", "sk-", "4111 ", "my name is A", "路1"} {
		start := time.Now()
		FindPII(strings.Repeat(piece, 200_000/len(piece)))
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%q: %s for 200 kB", piece, d)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("Mail ann@example.com, A123456789, 93.184.216.34")
	f.Fuzz(func(t *testing.T, text string) {
		_, spans := Redact(text)
		last := 0
		for _, s := range spans {
			if s.Start < last || s.End <= s.Start || s.End > len(text) {
				t.Fatalf("%q: %v", text, spans)
			}
			last = s.End
		}
	})
}
