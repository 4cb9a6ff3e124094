package token

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// TestReferencePatterns compares words with those that Hugging Face's library cuts by
// the regular expressions.
func TestReferencePatterns(t *testing.T) {
	f, err := os.Open("testdata/hf/words.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	patterns := map[string]pattern{"gpt2": patternGPT2, "cl100k": patternCL100K, "qwen2": patternQwen2}
	cases := 0
	for s := bufio.NewScanner(f); s.Scan(); cases++ {
		var c struct {
			Pattern, Text string
			Words         []string
		}
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		got := []string{}
		patterns[c.Pattern].words(c.Text, func(w string) { got = append(got, w) })
		if !slices.Equal(got, c.Words) {
			t.Errorf("%s: %q becomes %q, want %q", c.Pattern, c.Text, got, c.Words)
		}
	}
	if cases < 250 {
		t.Errorf("%d cases", cases)
	}
}
