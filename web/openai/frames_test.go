package openai

import (
	"bytes"
	"testing"
)

// TestFrames: what is written piece by piece has the bytes of the whole.
func TestFrames(t *testing.T) {
	word, reason := "word", "stop"
	texts := []string{"", " fox", `"quoted" \ <b>&</b>`, "line\nbreak\t", "狐狸 é", "bad \xff", "\u2028", "\x7f"}
	completion := Completion{ID: "cmpl-1", Object: "text_completion", Created: 7, Model: `a "choices":[] of names`, SystemFingerprint: "fp", Choices: []CompletionChoice{}}
	chat := ChatChunk{ID: "chatcmpl-1", Object: "chat.completion.chunk", Created: 7, Model: "m", SystemFingerprint: "fp", Choices: []DeltaChoice{}}
	plain, err := NewFrames(completion)
	if err != nil {
		t.Fatal(err)
	}
	deltas, err := NewFrames(chat)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []byte
	frame := func(v any) {
		b, err := Frame(v)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, b...)
	}
	for i, text := range texts {
		got = plain.AppendText(got, i, text)
		completion.Choices = []CompletionChoice{{Index: i, Text: text}}
		frame(completion)
		got = deltas.AppendDelta(got, i, text)
		chat.Choices = []DeltaChoice{{Index: i, Delta: Delta{Content: &text}}}
		frame(chat)
	}
	last := CompletionChoice{Index: 3, Text: word, Logprobs: &CompletionLogprobs{TextOffset: []int{1}, Tokens: []string{word}}, FinishReason: &reason}
	if got, err = plain.Append(got, last); err != nil {
		t.Fatal(err)
	}
	completion.Choices = []CompletionChoice{last}
	frame(completion)
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := NewFrames(map[string]int{"a": 1}); err == nil {
		t.Error("frames of what has no choices")
	}
}

// BenchmarkFrames is an event with a word.
func BenchmarkFrames(b *testing.B) {
	f, err := NewFrames(Completion{ID: "cmpl-1", Object: "text_completion", Choices: []CompletionChoice{}})
	if err != nil {
		b.Fatal(err)
	}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = f.AppendText(out[:0], 0, " fox")
	}
}
