package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model/token"
)

// call runs a command line and returns its exit code and what it wrote.
func call(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(context.Background(), args, streams{strings.NewReader(in), &o, &e})
	return code, o.String(), e.String()
}

func TestTokenizeText(t *testing.T) {
	for _, c := range []struct {
		in, want string
		args     []string
	}{
		{`{"text":"Hello world"}` + "\n" + `{"text":""}`, `{"ids":[15496,995]}` + "\n" + `{"ids":[]}` + "\n", []string{"--tokenizer", "gpt2"}},
		{`{"text":"Hello world"}`, `{"ids":[9906,1917]}` + "\n", []string{"text", "--tokenizer", "cl100k_base"}},
		{`{"text":"<|endoftext|>"}`, `{"ids":[27,91,8862,728,428,91,29]}` + "\n", []string{"--tokenizer", "cl100k_base"}},
		{`{"ids":[15496,995,50256]}`, `{"text":"Hello world"}` + "\n", []string{"--tokenizer", "gpt2", "--decode"}},
	} {
		if code, out, errs := call(t, c.in, append([]string{"tokenize"}, c.args...)...); code != 0 || out != c.want {
			t.Errorf("%v: exit %d, %q, %s", c.args, code, out, errs)
		}
	}
	for _, args := range [][]string{{}, {"--tokenizer", "nosuch"}, {"--tokenizer", "gpt2", "--model", "sft"},
		{"--tokenizer", "gpt2", "--decode", "--special"}} {
		if code, out, errs := call(t, "", append([]string{"tokenize"}, args...)...); code != exitUsage || out != "" || errs == "" {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, errs)
		}
	}
}

func TestTokenizeTrain(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		if strings.HasSuffix(name, ".gz") {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			if _, err := z.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			content = b.String()
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := write("a.txt", strings.Repeat("the fox and the hen went to the well\n\n", 20))
	rows := write("b.jsonl.gz", strings.Repeat(`{"prompt":"the fox?","completion":"the well and the hen"}`+"\n", 20))
	var digests []string
	for _, files := range [][]string{{text, rows}, {rows, text}} {
		out := filepath.Join(t.TempDir(), "new", "tokenizer")
		args := append([]string{"tokenize", "train", "--vocab", "270", "--special", "</s>", "--special", "<s>", "--out", out}, files...)
		if code, _, errs := call(t, "", args...); code != 0 {
			t.Fatalf("exit %d: %s", code, errs)
		}
		tok, err := token.Load(out)
		if err != nil {
			t.Fatal(err)
		}
		if tok.Vocab() != 270 || tok.EOS() != 268 || tok.BOS() != 269 || len(tok.Encode(" the fox")) > 4 {
			t.Errorf("vocab %d, EOS %d, BOS %d, %v", tok.Vocab(), tok.EOS(), tok.BOS(), tok.Encode(" the fox"))
		}
		digests = append(digests, tok.Digest())
		if code, ids, errs := call(t, `{"text":" the fox"}`, "tokenize", "--tokenizer", out); code != 0 || strings.Count(ids, ",") > 3 {
			t.Errorf("exit %d, %q, %s", code, ids, errs)
		}
		if code, _, errs := call(t, "", args...); code != exitFailed || !strings.Contains(errs, "has a tokenizer already") {
			t.Errorf("over another tokenizer: exit %d, %s", code, errs)
		}
	}
	if digests[0] != digests[1] {
		t.Error("the order of the files matters")
	}
	bad := write("bad.jsonl", `{"text":"a"}`+"\n"+`{"text":3}`+"\n")
	if code, _, errs := call(t, "", "tokenize", "train", "--vocab", "300", "--out", filepath.Join(dir, "x"), bad); code != exitFailed ||
		!strings.Contains(errs, "bad.jsonl: line 2: text") {
		t.Errorf("exit %d, %s", code, errs)
	}
	for _, args := range [][]string{{"--vocab", "256", "--out", dir, text}, {"--vocab", "300", "--out", dir}, {"--vocab", "300", text},
		{"--vocab", "300", "--kind", "word", "--out", dir, text}} {
		if code, _, _ := call(t, "", append([]string{"tokenize", "train"}, args...)...); code != exitUsage {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}
