package train

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/rankloop/rankloop/model/token"
)

func writeFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readAll(r Reading, path string) (rows []Row, err error) {
	err = r.Each(path, func(row Row) error {
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

var talk = []token.Message{{Role: "system", Content: "Be brief."}, {Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Hello."}}

const talkLine = `{"id": 7, "messages": [{"role":"system","content":"Be brief."},{"role":"user","content":"Hi","name":"x"},{"role":"assistant","content":"Hello."}]}` + "\n"

func TestReadText(t *testing.T) {
	two := "\ufeffOne\nline.\n\n \t\n  Two.\r\n"
	for name, c := range map[string]struct {
		file string
		r    Reading
		in   []byte
		want []string
	}{
		"blank lines end documents": {"a.txt", Reading{}, []byte(two), []string{"One\nline.", "Two."}},
		"whole file":                {"a.txt", Reading{WholeFile: true}, []byte("One.\n\nTwo.\n"), []string{"One.\n\nTwo."}},
		"gzip":                      {"a.txt.gz", Reading{}, zipped(t, []byte(two)), []string{"One\nline.", "Two."}},
		"gzip by its first bytes":   {"a.txt", Reading{}, zipped(t, []byte(two)), []string{"One\nline.", "Two."}},
		"nothing":                   {"a.txt", Reading{}, nil, nil},
		"text of another name":      {"a.jsonl", Reading{Format: "text"}, []byte("{"), []string{"{"}},
	} {
		rows, err := readAll(c.r, writeFile(t, c.file, c.in))
		var got []string
		for _, r := range rows {
			got = append(got, r.Text)
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestReadJSONL(t *testing.T) {
	for name, c := range map[string]struct {
		r    Reading
		in   string
		want []Row
	}{
		"text":     {Reading{}, "{\"text\":\"a\"}\n\n{\"text\":\"b\",\"n\":1}\n", []Row{{Kind: KindText, Text: "a"}, {Kind: KindText, Text: "b"}}},
		"messages": {Reading{}, talkLine, []Row{{Kind: KindMessages, Messages: talk}}},
		"pairs":    {Reading{}, `{"prompt":"p","completion":"c","text":"both"}`, []Row{{Kind: KindPairs, Prompt: "p", Completion: "c"}}},
		"mapped": {Reading{Map: map[string]string{"prompt": "instruction+input", "completion": "output"}},
			"{\"instruction\":\"Add.\",\"input\":\"1 2\",\"output\":\"3\"}\n{\"instruction\":\"Sing.\",\"input\":\"\",\"output\":\"La\",\"text\":\"x\"}",
			[]Row{{Kind: KindPairs, Prompt: "Add.\n\n1 2", Completion: "3"}, {Kind: KindPairs, Prompt: "Sing.", Completion: "La"}}},
	} {
		for _, packed := range []bool{false, true} {
			content := []byte(c.in)
			if packed {
				content = zipped(t, content)
			}
			got, err := readAll(c.r, writeFile(t, "data.jsonl", content))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			var again []byte // what a row is written as reads back
			for _, r := range got {
				b, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				again = append(append(again, b...), '\n')
			}
			if back, err := readAll(Reading{}, writeFile(t, "again.jsonl", again)); err != nil || !reflect.DeepEqual(back, got) {
				t.Errorf("%s, written and read: %+v, %v", name, back, err)
			}
		}
	}
}

// A bad row names the file, the row and the field.
func TestBadRows(t *testing.T) {
	for want, in := range map[string]string{
		`data.jsonl: line 2: text is not a string`:                                                     "{\"text\":\"a\"}\n{\"text\":3}",
		`data.jsonl: line 2: text is missing`:                                                          "{\"text\":\"a\"}\n{\"prompt\":\"a\",\"completion\":\"b\"}",
		`data.jsonl: line 1: completion is not a string`:                                               `{"prompt":"a","completion":null}`,
		`data.jsonl: line 2: messages[1].content is not a string`:                                      talkLine + `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":["b"]}]}`,
		`data.jsonl: line 1: messages[1].content is missing`:                                           `{"messages":[{"role":"user","content":"a"},{"role":"assistant"}]}`,
		`data.jsonl: line 1: messages[0].role "robot" is not system, developer, user or assistant`:     `{"messages":[{"role":"robot","content":"a"}]}`,
		`data.jsonl: line 1: messages is not a list of objects with role and content`:                  `{"messages":{"role":"user"}}`,
		`data.jsonl: line 1: messages has no message`:                                                  `{"messages":[]}`,
		`data.jsonl: line 1: messages has no turn of the assistant`:                                    `{"messages":[{"role":"user","content":"a"}]}`,
		`data.jsonl: line 1: is no JSON object`:                                                        `[1]`[1:2],
		`data.jsonl: line 1: is a JSON array; one object a line is wanted, as 'jq -c .[]' writes them`: "[{\"text\":\"a\"}]",
		`data.jsonl: line 1: is not JSON: unexpected end of JSON input`:                                `{"text":`,
		"data.jsonl: line 1: is not UTF-8":                                                             "{\"text\":\"\xff\"}",
	} {
		_, err := readAll(Reading{}, writeFile(t, "data.jsonl", []byte(in)))
		var bad RowErrors
		if !errors.As(err, &bad) || bad.Error() != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	_, err := readAll(Reading{}, writeFile(t, "a.txt", []byte("fine\nnot \xff\n")))
	if err == nil || err.Error() != "a.txt: line 2: is not UTF-8" {
		t.Error(err)
	}
	// The first 20 are listed; a file with one bad row gives no rows after it.
	_, err = readAll(Reading{}, writeFile(t, "many.jsonl", []byte("{\"text\":\"a\"}\n"+strings.Repeat("{\"text\":1}\n", 30))))
	var bad RowErrors
	if !errors.As(err, &bad) || len(bad) != 20 || bad[19].Row != 21 || !strings.Contains(err.Error(), "were not looked at") {
		t.Error(err)
	}
}

func TestReadingIsChecked(t *testing.T) {
	for want, r := range map[string]Reading{
		"format": {Format: "csv"},
		"map":    {Map: map[string]string{"answer": "a"}},
	} {
		var invalid *InvalidError
		if err := r.Validate(); !errors.As(err, &invalid) || invalid.Field != want {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, m := range []map[string]string{{"text": "a", "prompt": "b"}, {"messages": "a+b"}, {"text": "a+"}} {
		if (Reading{Map: m}).Validate() == nil {
			t.Errorf("%v is taken", m)
		}
	}
	for _, magic := range []string{"PK\x03\x04", "BZh91", "\x28\xb5\x2f\xfd", "\xfd7zXZ\x00"} {
		if _, err := readAll(Reading{}, writeFile(t, "a.txt", []byte(magic+"....."))); err == nil || !strings.Contains(err.Error(), "gzip, and parquet are read") {
			t.Errorf("%q: %v", magic, err)
		}
	}
	if _, err := readAll(Reading{}, t.TempDir()); err == nil {
		t.Error("a folder is read")
	}
}

// Bombs are refused while they are small: by ratio, and by the cap on decoded bytes.
func TestBombs(t *testing.T) {
	bomb := zipped(t, bytes.Repeat([]byte("a\n"), 32<<20))
	if len(bomb) > 1<<20 {
		t.Fatalf("%d bytes are no bomb", len(bomb))
	}
	n := 0
	err := Reading{}.Each(writeFile(t, "a.txt.gz", bomb), func(Row) error { n++; return nil })
	if err == nil || !strings.Contains(err.Error(), "100 times its size") {
		t.Errorf("a bomb: %v", err)
	}
	var text bytes.Buffer
	for i := range 4000 {
		fmt.Fprintf(&text, "{\"text\":\"number %d\"}\n", i*i)
	}
	for _, content := range [][]byte{text.Bytes(), zipped(t, text.Bytes())} {
		if _, err := readAll(Reading{MaxBytes: 50_000}, writeFile(t, "a.jsonl", content)); err == nil || !strings.Contains(err.Error(), "more than 50000 bytes") {
			t.Errorf("over the cap: %v", err)
		}
	}
	cut := zipped(t, text.Bytes())
	if _, err := readAll(Reading{}, writeFile(t, "a.jsonl.gz", cut[:len(cut)/2])); err == nil || !strings.Contains(err.Error(), "gzip: unexpected EOF") {
		t.Errorf("half a file: %v", err)
	}
}

type chatTurn struct {
	Role    string `parquet:"role"`
	Content string `parquet:"content"`
	Weight  *int   `parquet:"weight,optional"`
}

func writeParquet[T any](t testing.TB, rows []T, opts ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, opts...)
	for at := 0; at < len(rows); at += 100 { // several row groups
		if _, err := w.Write(rows[at:min(at+100, len(rows))]); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadParquet(t *testing.T) {
	type text struct {
		ID   int    `parquet:"id"`
		Text string `parquet:"text,dict,snappy"`
	}
	type pair struct {
		Prompt     string  `parquet:"prompt,zstd"`
		Completion *string `parquet:"completion,optional,gzip"`
	}
	type chat struct {
		Messages []chatTurn `parquet:"messages,list"`
	}
	var texts []text
	var pairs []pair
	var chats []chat
	var want [3][]Row
	for i := range 250 {
		s := fmt.Sprintf("text %d", i%7)
		long := strings.Repeat(s+" ", 300)
		texts = append(texts, text{i, long})
		want[0] = append(want[0], Row{Kind: KindText, Text: long})
		pairs = append(pairs, pair{s, &long})
		want[1] = append(want[1], Row{Kind: KindPairs, Prompt: s, Completion: long})
		var c chat
		row := Row{Kind: KindMessages}
		for j := range 1 + i%5 {
			c.Messages = append(c.Messages, chatTurn{Role: "user", Content: fmt.Sprint(i, j)}, chatTurn{Role: "assistant", Content: s, Weight: &i})
			row.Messages = append(row.Messages, token.Message{Role: "user", Content: fmt.Sprint(i, j)}, token.Message{Role: "assistant", Content: s})
		}
		chats = append(chats, c)
		want[2] = append(want[2], row)
	}
	small := parquet.PageBufferSize(2000)
	for i, content := range [][]byte{writeParquet(t, texts, small), writeParquet(t, pairs, small), writeParquet(t, chats, small)} {
		got, err := readAll(Reading{}, writeFile(t, "data.parquet", content))
		if err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("file %d: %d rows of %d, %v", i, len(got), len(want[i]), err)
		}
	}
	pairs[120].Completion = nil
	_, err := readAll(Reading{}, writeFile(t, "data.parquet", writeParquet(t, pairs)))
	if err == nil || err.Error() != "data.parquet: row 121: completion is missing" {
		t.Error(err)
	}
	chats[7].Messages = nil
	chats[9].Messages[1].Role = "robot"
	_, err = readAll(Reading{}, writeFile(t, "data.parquet", writeParquet(t, chats)))
	if err == nil || err.Error() != "data.parquet: row 8: messages has no message\ndata.parquet: row 10: messages[1].role \"robot\" is not system, developer, user or assistant" {
		t.Error(err)
	}
	_, err = readAll(Reading{Map: map[string]string{"text": "id"}}, writeFile(t, "data.parquet", writeParquet(t, texts)))
	if err == nil || err.Error() != "data.parquet: column id is not of strings" {
		t.Error(err)
	}
	_, err = readAll(Reading{Map: map[string]string{"text": "body"}}, writeFile(t, "data.parquet", writeParquet(t, texts)))
	if err == nil || err.Error() != "data.parquet: there is no column body; there are id, text" {
		t.Error(err)
	}
	if _, err = readAll(Reading{MaxBytes: 10000}, writeFile(t, "data.parquet", writeParquet(t, texts))); err == nil || !strings.Contains(err.Error(), "more than 10000 bytes") {
		t.Error(err)
	}
}

// A page that decodes to far more than it holds is refused by its header.
func TestParquetBomb(t *testing.T) {
	type row struct {
		Text string `parquet:"text,gzip"`
	}
	content := writeParquet(t, []row{{strings.Repeat("a", 3<<20)}})
	_, err := readAll(Reading{}, writeFile(t, "data.parquet", content))
	if err == nil || !strings.Contains(err.Error(), "decodes to more than 100 times its size") {
		t.Error(err)
	}
}

// Whatever the bytes, reading ends with rows or with an error that names the file.
func fuzzReading(f *testing.F, name string, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		err := Reading{MaxBytes: 1 << 22}.each(name, bytes.NewReader(b), int64(len(b)), func(r Row) error {
			n++
			if _, err := json.Marshal(r); err != nil {
				t.Fatal(err)
			}
			return nil
		})
		if err != nil && !strings.HasPrefix(err.Error(), name+": ") {
			t.Fatalf("%v does not name the file", err)
		}
	})
}

func FuzzText(f *testing.F) {
	fuzzReading(f, "a.txt", []byte("a\n\nb"), zipped(f, []byte("a\n\nb")))
}

func FuzzJSONL(f *testing.F) {
	fuzzReading(f, "a.jsonl", []byte(talkLine), []byte(`{"text":"a"}`), zipped(f, []byte(`{"prompt":"a","completion":"b"}`)))
}

func FuzzParquet(f *testing.F) {
	type pair struct {
		Prompt     string `parquet:"prompt,snappy"`
		Completion string `parquet:"completion,dict"`
	}
	type chat struct {
		Messages []chatTurn `parquet:"messages,list"`
	}
	fuzzReading(f, "a.parquet", writeParquet(f, []pair{{"a", "b"}, {"c", "b"}}), writeParquet(f, []chat{{[]chatTurn{{Role: "user", Content: "a"}, {Role: "assistant", Content: "b"}}}}))
}
