package token

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// gpt1Folder is the tokenizer of testdata/hf/gpt1.json as the two files of the first
// release.
func gpt1Folder(t testing.TB) fstest.MapFS {
	data, err := os.ReadFile("testdata/hf/gpt1.json")
	if err != nil {
		t.Fatal(err)
	}
	var f hfFile
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	merges := "#version: 0.2\n"
	for _, m := range f.Model.Merges {
		merges += m[0] + " " + m[1] + "\n"
	}
	return fstest.MapFS{"vocab.json": {Data: f.Model.Vocab}, "merges.txt": {Data: []byte(merges)},
		"config.json": {Data: []byte(`{"model_type":"openai-gpt"}`)}}
}

// TestGPT1Folder: vocab.json and merges.txt give the ids that the library gives.
func TestGPT1Folder(t *testing.T) {
	tok, err := LoadFS(gpt1Folder(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range hfVectors(t, "testdata/hf/gpt1.vectors.jsonl") {
		v.check(t, tok)
	}
	unk, ok := tok.Special("<unk>")
	if !ok || tok.BOS() != -1 || tok.EOS() != -1 {
		t.Errorf("<unk> %t, BOS %d, EOS %d", ok, tok.BOS(), tok.EOS())
	}
	for text, want := range map[string]string{
		"The Quick\n fox, didn't":    "the quick fox , didn ' t",
		"\tWORD\u00a0café\x00 ":      "word cafe",
		"the \u2603 fox":             "the fox", // <unk> shows nothing
		strings.Repeat("the ", 1000): strings.Repeat("the ", 999) + "the",
	} {
		ids := tok.Encode(text)
		if got := tok.Decode(ids); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
		if strings.Contains(text, "\u2603") && !slices.Contains(ids, unk) {
			t.Errorf("%q has no <unk>: %v", text, ids)
		}
	}
	// Without <unk> there is nothing to say for a character that is not known.
	files := gpt1Folder(t)
	files["vocab.json"].Data = []byte(strings.Replace(string(files["vocab.json"].Data), "<unk>", "<other>", 1))
	if _, err := LoadFS(files); err == nil {
		t.Error("a vocabulary without <unk> was accepted")
	}
}
