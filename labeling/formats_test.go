package labeling

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func hhLine(chosen, rejected string) string {
	b, err := json.Marshal(map[string]string{"chosen": chosen, "rejected": rejected})
	if err != nil {
		panic(err)
	}
	return string(b) + "\n"
}

func TestParseHH(t *testing.T) {
	const start = "\n\nHuman: Hi there\n\nAssistant: Hello!\n\nHuman: Tell me\n\nabout tea.\n\nAssistant:"
	file := hhLine(start+" It is hot.", start+" No.") +
		hhLine(start+" It is hot.", start+" No.") + // a duplicate
		"\n" +
		hhLine(start+" a", start+" a ") +
		hhLine(start+" a", "\n\nHuman: Other\n\nAssistant: b\n\nHuman: Tell me\n\nabout tea.\n\nAssistant: b") +
		hhLine(start+" a", "\n\nHuman: Hi\n\nAssistant: b") +
		hhLine("Hi", "Ho") +
		hhLine(start+" a", start) +
		`{"chosen": 3, "rejected": ""}` + "\n" +
		`{"rejected": "x"}` + "\n" +
		`{"chosen": "a", "chosen": "b"}`
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprint(z, file)
	z.Close()
	for _, r := range []io.Reader{strings.NewReader(file), &packed, strings.NewReader("\ufeff" + file)} {
		list, report, err := ParseHH(r)
		if err != nil {
			t.Fatal(err)
		}
		talk := []Message{{"user", "Hi there"}, {"assistant", "Hello!"}, {"user", "Tell me\n\nabout tea."}}
		want := []Record{{Messages: talk, Completions: []string{"It is hot.", "No."}, Ranks: []int{1, 2}},
			{Messages: talk, Completions: []string{"a", ""}, Ranks: []int{1, 2}}} // an answer may be empty
		if !reflect.DeepEqual(list, want) {
			t.Errorf("read %+v", list)
		}
		var reasons []string
		for _, e := range report.Reasons {
			reasons = append(reasons, e.Error())
		}
		if report.Read != 10 || report.Imported != 2 || report.Duplicates != 1 || report.Rejected != 7 || !slices.Equal(reasons, []string{
			"line 4: rejected: equal to chosen",
			"line 5: rejected: differs from chosen before the last turn",
			"line 6: rejected: 2 turns where chosen has 4",
			"line 7: chosen: does not begin with a turn of Human or Assistant",
			"line 9: chosen: number where string is wanted",
			"line 10: chosen: missing",
			"line 11: chosen: given twice",
		}) {
			t.Errorf("report %+v: %q", report, reasons)
		}
	}
}

func TestReadRankingsIsStrict(t *testing.T) {
	const good = `{"prompt":"p","completions":["a","b"],"ranks":[1,2]}`
	for line, want := range map[string]string{
		`{"prompt":"p","completions":["a","b"],"ranks":[1,2],"score":1}`:                              "score: unknown field",
		`{"Prompt":"p","completions":["a","b"],"ranks":[1,2]}`:                                        "Prompt: unknown field",
		`{"completions":["a","b"],"ranks":[1,2]}`:                                                     "prompt: missing",
		`{"prompt":"p","completions":["a"],"ranks":[1]}`:                                              "completions: 1 given, 2 to 64 are wanted",
		`{"prompt":"p","completions":[" ",""],"ranks":[1,2]}`:                                         "completions: empty",
		`{"prompt":"p","completions":["a","b"],"ranks":[1]}`:                                          "ranks: 1 given for 2 completions",
		`{"prompt":"p","completions":["a","b"],"ranks":[0,1]}`:                                        "ranks: rank 0 of answer 1 is below 1",
		`{"prompt":"p","completions":["a","b"],"ranks":[1,1.5]}`:                                      "ranks: number 1.5 where int is wanted",
		`{"prompt":"p","completions":["a","b"],"ranks":[1,1e999]}`:                                    "ranks: number 1e999 where int is wanted",
		`{"prompt":"p","completions":"a","ranks":[1,2]}`:                                              "completions: string where []string is wanted",
		`{"prompt":"p","completions":["a","b"],"ranks":[1,2],"split":"dev"}`:                          `split: "dev" is none of train, valid, test`,
		`{"prompt":"p","completions":["a","b"],"ranks":[1,2],"prompt_ids":[1]}`:                       "prompt_ids: token ids mean nothing without the tokenizer's digest",
		`{"prompt":"p","completions":["a","b"],"ranks":[1,2],"completion_ids":[[1]],"tokenizer":"t"}`: "completion_ids: 1 given for 2 completions",
		`{"prompt":[{"role":"user","content":"x","name":"y"}],"completions":["a","b"],"ranks":[1,2]}`: "prompt[0].name: unknown field",
		`{"prompt":[{"role":"user"}],"completions":["a","b"],"ranks":[1,2]}`:                          "prompt[0].content: missing",
		`{"prompt":[{"role":"assistant","content":"x"}],"completions":["a","b"],"ranks":[1,2]}`:       "messages: the last turn is the assistant's; it must be the user's",
		`{"prompt":[],"completions":["a","b"],"ranks":[1,2]}`:                                         "prompt: empty",
		`{"prompt":"p\u0000","completions":["a","b"],"ranks":[1,2]}`:                                  "NUL (\\u0000)",
		`{"prompt":"\ud83d","completions":["a","b"],"ranks":[1,2]}`:                                   "lone surrogate \\ud83d",
		`{"prompt":"\udc00\ud83d","completions":["a","b"],"ranks":[1,2]}`:                             "lone surrogate \\udc00",
		"{\"prompt\":\"\xff\",\"completions\":[\"a\",\"b\"],\"ranks\":[1,2]}":                         "invalid UTF-8",
		good + ` {}`:    "text after the JSON value",
		`[1,2]`:         "not a JSON object",
		`null`:          "not a JSON object",
		`{"prompt":"p"`: "JSON: EOF",
		`{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`: "nested deeper than 32",
	} {
		_, err := ReadRankings(strings.NewReader(good + "\n\n" + line + "\n" + good))
		var e *LineError
		if !errors.As(err, &e) || e.Line != 3 || e.Err.Error() != want {
			t.Errorf("%s: %v, want line 3: %s", line, err, want)
		}
	}
	list, err := ReadRankings(strings.NewReader(`{"ranks":[3,3,1],"prompt":"\ud83d\ude00 \\u0000 \"","completions":["a","b","c"],"labeler":null}`))
	if err != nil || len(list) != 1 || list[0].Prompt != "😀 \\u0000 \"" || !slices.Equal(list[0].Ranks, []int{2, 2, 1}) {
		t.Errorf("%+v, %v", list, err)
	}
}

func drawRecord(t *rapid.T) Record {
	text := rapid.StringMatching(`[a-zA-Z<&"\\ é長😀\n\t]{0,30}[a-z]`)
	k := rapid.IntRange(MinAnswers, 12).Draw(t, "k")
	r := Record{Completions: rapid.SliceOfN(text, k, k).Draw(t, "completions"), Labeler: rapid.StringMatching(`[a-z]{0,5}`).Draw(t, "labeler"),
		Split: rapid.SampledFrom([]string{"", Train, Valid, Test}).Draw(t, "split")}
	r.Ranks, _ = Canonical(drawRanks(t, k))
	if rapid.Bool().Draw(t, "conversation") {
		r.Messages = []Message{{"system", text.Draw(t, "system")}, {"user", text.Draw(t, "user")}}
	} else {
		r.Prompt = text.Draw(t, "prompt")
	}
	if rapid.Bool().Draw(t, "ids") {
		r.Tokenizer = "digest"
		r.PromptIDs = []int32{1, 2}
		for range k {
			r.CompletionIDs = append(r.CompletionIDs, rapid.SliceOfN(rapid.Int32Range(0, 50_000), 1, 5).Draw(t, "ids"))
		}
	}
	return r
}

func TestRankingsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(drawRecord), 1, 5).Draw(t, "records")
		write := func(list []Record) []byte {
			var b bytes.Buffer
			w := NewRankingsWriter(&b)
			for _, r := range list {
				if err := w.Write(r); err != nil {
					t.Fatal(err)
				}
			}
			return b.Bytes()
		}
		file := write(records)
		back, err := ReadRankings(bytes.NewReader(file))
		if err != nil || !reflect.DeepEqual(back, records) {
			t.Fatalf("wrote %+v, read %+v, %v", records, back, err)
		}
		if !bytes.Equal(write(back), file) {
			t.Fatal("written again it is another file")
		}
		// Groups lose no ranking, and become the same records again.
		n := 0
		for _, p := range GroupRecords(records) {
			for _, r := range p.Records() {
				n++
				if !slices.ContainsFunc(records, func(q Record) bool {
					return q.group() == r.group() && slices.Equal(q.Ranks, r.Ranks) && q.Labeler == r.Labeler
				}) {
					t.Fatalf("%+v was not written", r)
				}
			}
		}
		if n != len(records) {
			t.Fatalf("%d rankings in groups of %d", n, len(records))
		}
	})
}

func TestWriteRefuses(t *testing.T) {
	w := NewRankingsWriter(io.Discard)
	for _, r := range []Record{{}, {Prompt: "p", Completions: []string{"a\x00", "b"}, Ranks: []int{1, 2}}, {Prompt: "\xff", Completions: []string{"a", "b"}, Ranks: []int{1, 2}}} {
		var e *InvalidError
		if err := w.Write(r); !errors.As(err, &e) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	// An empty answer that was sampled is one.
	if err := w.Write(Record{Prompt: "p", Completions: []string{"", "b"}, Ranks: []int{2, 1}, CompletionIDs: [][]int32{{0}, {5}}, Tokenizer: "t"}); err != nil {
		t.Error(err)
	}
}

func TestGzipIsBounded(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for i := range zeros {
		zeros[i] = ' '
	}
	for range 64 {
		z.Write(zeros)
	}
	z.Close()
	if _, err := ReadRankings(&bomb); err == nil || !strings.Contains(err.Error(), "100 to 1") {
		t.Errorf("a bomb: %v", err)
	}
	if _, err := ReadRankings(strings.NewReader("\x1f\x8bnot gzip at all")); err == nil {
		t.Error("broken gzip went through")
	}
	good := strings.Repeat(`{"prompt":"p","completions":["a","b"],"ranks":[1,2]}`+"\n", 100)
	var packed bytes.Buffer
	z = gzip.NewWriter(&packed)
	fmt.Fprint(z, good)
	z.Close()
	for _, cut := range []int{3, 12, packed.Len() / 2, packed.Len() - 1} {
		if _, err := ReadRankings(bytes.NewReader(packed.Bytes()[:cut])); err == nil {
			t.Errorf("a file cut at %d of %d went through", cut, packed.Len())
		}
	}
	if list, err := ReadRankings(&packed); err != nil || len(list) != 100 {
		t.Errorf("%d rankings, %v", len(list), err)
	}
	long := `{"prompt":"` + strings.Repeat("x", maxLine) + `"}`
	if _, err := ReadRankings(strings.NewReader(long)); err == nil || !strings.Contains(err.Error(), "line 1: longer") {
		t.Error("a line beyond the limit went through")
	}
}

// FuzzImport: whatever the bytes, no format panics, every line is counted once, and what
// is imported can be written and read again as it is.
func FuzzImport(f *testing.F) {
	f.Add([]byte(hhLine("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: c")))
	f.Add([]byte(`{"prompt":[{"role":"user","content":"x"}],"completions":["a","b"],"ranks":[1,1],"split":"train"}`))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	names, err := filepath.Glob("testdata/import/*.*")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	seed, _ := exported(f, "parquet", samplePrompts())
	f.Add(seed)
	f.Add([]byte(`{"chosen":"\ud83d","rejected":[[[[]]]]}` + "\n{}\n[]\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, name := range FormatNames() {
			var list []Record
			report, err := Import(bytes.NewReader(file), Reading{Format: name}, func(r Record) error {
				list = append(list, r)
				return nil
			})
			if err != nil {
				continue
			}
			if report.Read != report.Imported+report.Duplicates+report.Rejected {
				t.Errorf("%s: %+v does not add up", name, report)
			}
			for kind, as := range map[Kind]string{Ranked: "rankings", Demonstrated: "trl", Asked: "trl"} {
				var b bytes.Buffer
				w := NewRankingsWriter(&b)
				var written, back []Record
				for _, r := range list {
					if r.Kind != kind {
						continue
					}
					if err := w.Write(r); err != nil {
						t.Fatalf("%s: %+v cannot be written: %v", name, r, err)
					}
					written = append(written, r)
				}
				_, err := Import(&b, Reading{Format: as}, func(r Record) error { back = append(back, r); return nil })
				if err != nil || len(back) != len(written) {
					t.Fatalf("%s: %d records written, %d read, %v", name, len(written), len(back), err)
				}
			}
		}
	})
}
