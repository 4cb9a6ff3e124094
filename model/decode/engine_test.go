package decode

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// bytesOnly is a tokenizer of the 256 bytes and an end of text.
func bytesOnly(t testing.TB) token.Tokenizer {
	t.Helper()
	tok, err := token.Train(slices.Values([]string{}), 257, []string{"<|endoftext|>"})
	if err != nil {
		t.Fatal(err)
	}
	if tok.EOS() != 256 {
		t.Fatalf("end of text is %d", tok.EOS())
	}
	return tok
}

func engine(t testing.TB, m *model.Transformer, tok token.Tokenizer, opt EngineOptions) *Engine {
	e := NewEngine(m, tok, opt)
	t.Cleanup(e.Close)
	return e
}

// read takes a whole completion.
func read(t testing.TB, s *Stream) (c Completion, text string) {
	t.Helper()
	for {
		tok, ok, err := s.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return c, text
		}
		c.Finish = tok.Finish
		if !utf8.ValidString(tok.Text) {
			t.Errorf("text %q is not UTF-8", tok.Text)
		}
		c.IDs, c.Logprobs = append(c.IDs, tok.ID), append(c.Logprobs, tok.Logprob)
		text += tok.Text
	}
}

// Many callers at once, more than there are places: each gets what it would get alone.
func TestEngineEqualsGenerate(t *testing.T) {
	m := newModel(t, "llama", 50)
	e := engine(t, m, nil, EngineOptions{MaxBatch: 5, Patience: patient})
	ask := prompts(40, 50)
	var wg sync.WaitGroup
	for i, ids := range ask {
		wg.Add(1)
		go func() {
			defer wg.Done()
			p := Params{MaxTokens: 1 + i, Temperature: 1, Seed: uint64(i)}
			want, err := Generate(context.Background(), m, [][]int32{ids}, p, 0, nil)
			if err != nil {
				t.Error(err)
				return
			}
			p.Logprobs = 3
			s, err := e.Submit(context.Background(), Request{Prompt: ids, Params: p})
			if err != nil {
				t.Error(err)
				return
			}
			finish := ""
			for tok, n := (Token{}), 0; ; n++ {
				var ok bool
				if tok, ok, err = s.Next(context.Background()); err != nil || !ok {
					if err != nil || n != len(want[0].IDs) || finish != want[0].Finish {
						t.Errorf("request %d: ends after %d tokens by %q (%v), alone %+v", i, n, finish, err, want[0])
					}
					return
				}
				finish = tok.Finish
				if tok.ID != want[0].IDs[n] || tok.Logprob != want[0].Logprobs[n] {
					t.Errorf("request %d: token %d is %+v, alone %d", i, n, tok, want[0].IDs[n])
				}
				if len(tok.Top) != 3 || tok.Top[0].Logprob < tok.Top[1].Logprob || tok.Top[0].Logprob < tok.Logprob {
					t.Errorf("request %d: top %v of a token with %g", i, tok.Top, tok.Logprob)
				}
			}
		}()
	}
	wg.Wait()
}

func TestEngineText(t *testing.T) {
	m, tok := newModel(t, "gpt2", 257), bytesOnly(t)
	e := engine(t, m, tok, EngineOptions{})
	likely := func(letters string) map[int32]float32 {
		bias := map[int32]float32{}
		for _, id := range tok.Encode(letters) {
			bias[id] = 100
		}
		return bias
	}
	stopped, early := 0, 0
	for seed := range uint64(60) {
		ask := func(letters string, stop ...string) (Completion, string) {
			s, err := e.Submit(context.Background(), Request{Prompt: []int32{65}, Params: Params{
				MaxTokens: 40, Temperature: 1, Seed: seed, LogitBias: likely(letters), Stop: stop}})
			if err != nil {
				t.Fatal(err)
			}
			return read(t, s)
		}
		free, whole := ask("ab")
		if whole != tok.Decode(free.IDs) || free.Finish != FinishLength {
			t.Fatalf("text %q (%s), the tokens are %q", whole, free.Finish, tok.Decode(free.IDs))
		}
		c, text := ask("ab", "abba", "aaaa", "zz")
		want := whole
		// What ends first counts, not what begins first: aabbaaaa ends at abba.
		if ends := earliestEnd(whole, "abba", "aaaa"); ends >= 0 {
			want = whole[:ends-4]
			if c.Finish != FinishStop || len(c.IDs) != ends {
				t.Errorf("%q: finish %q after %d tokens", whole, c.Finish, len(c.IDs))
			}
			stopped++
		} else if c.Finish != FinishLength {
			t.Errorf("%q: finish %q", whole, c.Finish)
		}
		if text != want {
			t.Errorf("%q with stop texts gives %q, want %q", whole, text, want)
		}
		// Bytes of characters in any order: always UTF-8, and all of it.
		c, text = ask("é€𝄞")
		if text != tok.Decode(c.IDs) {
			t.Errorf("text %q, the tokens are %q", text, tok.Decode(c.IDs))
		}
		// The end of text has no text, and what was held back for a stop text comes out.
		s, err := e.Submit(context.Background(), Request{Prompt: []int32{65}, Params: Params{MaxTokens: 40, Temperature: 1, Seed: seed,
			LogitBias: map[int32]float32{256: 99, 97: 100, 98: 100}, Stop: []string{"ababababab"}}})
		if err != nil {
			t.Fatal(err)
		}
		if c, text = read(t, s); text != tok.Decode(c.IDs) {
			t.Errorf("text %q, the tokens are %q", text, tok.Decode(c.IDs))
		}
		if c.IDs[len(c.IDs)-1] == 256 && c.Finish == FinishStop {
			early++
		}
	}
	if stopped == 0 || stopped == 60 || early == 0 {
		t.Errorf("%d of 60 completions stopped by text, %d by end of text", stopped, early)
	}
}

// earliestEnd is where the stop text that is complete first ends in s, -1 = none.
func earliestEnd(s string, stops ...string) int {
	for end := range len(s) + 1 {
		for _, stop := range stops {
			if strings.HasSuffix(s[:end], stop) {
				return end
			}
		}
	}
	return -1
}

// slow is a request that takes long: thousands of tokens.
func slow(ctx context.Context, t *testing.T, e *Engine) *Stream {
	t.Helper()
	s, err := e.Submit(ctx, Request{Prompt: []int32{1}, Params: Params{MaxTokens: 20000, Temperature: 1, IgnoreEOS: true}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Next(context.Background()); !ok || err != nil { // it has its place now
		t.Fatal(ok, err)
	}
	return s
}

func longModel(t *testing.T) *model.Transformer {
	m, err := model.New(model.Config{Family: "llama", Vocab: 20, Context: 20000, Layers: 1, Width: 8, Heads: 1, BOS: -1, EOS: -1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEngineBusyAndCancel(t *testing.T) {
	e := engine(t, longModel(t), nil, EngineOptions{MaxBatch: 1, Queue: 1, Patience: patient})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first := slow(ctx, t, e)
	short := Request{Prompt: []int32{1, 2}, Params: Params{MaxTokens: 3, Temperature: 1}}
	waiting, err := e.Submit(context.Background(), short)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Submit(context.Background(), short); !errors.Is(err, ErrBusy) {
		t.Errorf("a full queue: %v", err)
	}
	if _, ok, err := waiting.Next(expired()); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with an expired context: %v", err)
	}
	cancel()
	start := time.Now()
	if c, _ := read(t, waiting); len(c.IDs) != 3 {
		t.Errorf("the request after the cancelled one got %+v", c)
	}
	if d := time.Since(start); d > 500*time.Millisecond {
		t.Errorf("the place was freed after %v", d)
	}
	for {
		_, ok, err := first.Next(context.Background())
		if ok {
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled request ends by %v", err)
		}
		break
	}
	// A request cancelled while it waits never starts.
	s, err := e.Submit(expired(), short)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Next(context.Background()); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was cancelled before: %v", err)
	}
}

func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// A reader that does not read holds up nobody.
func TestEngineSlowReader(t *testing.T) {
	e := engine(t, newModel(t, "gpt2", 50), nil, EngineOptions{MaxBatch: 2, Patience: patient})
	req := Request{Prompt: []int32{1, 2}, Params: Params{MaxTokens: 40, Temperature: 1, IgnoreEOS: true}}
	var unread []*Stream
	for range 20 {
		s, err := e.Submit(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		unread = append(unread, s)
	}
	want, _ := read(t, unread[19])
	for _, s := range unread[:19] {
		if got, _ := read(t, s); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func TestEngineCloseDrains(t *testing.T) {
	e := NewEngine(newModel(t, "gpt2", 50), nil, EngineOptions{MaxBatch: 3, Patience: patient})
	var streams []*Stream
	for i := range 30 {
		s, err := e.Submit(context.Background(), Request{Prompt: []int32{1}, Params: Params{MaxTokens: 20, Temperature: 1, Seed: uint64(i), IgnoreEOS: true}})
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() { defer wg.Done(); e.Close() }()
	}
	wg.Wait()
	if _, err := e.Submit(context.Background(), Request{Prompt: []int32{1}, Params: Params{MaxTokens: 1}}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	for i, s := range streams {
		if c, _ := read(t, s); len(c.IDs) != 20 {
			t.Errorf("request %d has %d tokens after Close", i, len(c.IDs))
		}
	}
}

func TestEngineRefuses(t *testing.T) {
	m := newModel(t, "gpt2", 50)
	e := engine(t, m, nil, EngineOptions{MaxTokens: 10})
	for name, r := range map[string]Request{
		"prompt":    {Params: Params{MaxTokens: 1}},
		"token":     {Prompt: []int32{99}, Params: Params{MaxTokens: 1}},
		"MaxTokens": {Prompt: []int32{1}, Params: Params{MaxTokens: 11}},
		"Stop":      {Prompt: []int32{1}, Params: Params{MaxTokens: 1, Stop: []string{"x"}}},
		"params":    {Prompt: []int32{1}},
	} {
		var bad *model.InvalidError
		if _, err := e.Submit(context.Background(), r); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e.EOS() != 0 {
		t.Errorf("end of text %d", e.EOS())
	}
}

func ExampleEngine() {
	m, err := model.New(model.Config{Family: "gpt2", Vocab: 100, Context: 32, Layers: 1, Width: 16, Heads: 2, BOS: -1, EOS: -1}, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	e := NewEngine(m, nil, EngineOptions{})
	defer e.Close()
	s, err := e.Submit(context.Background(), Request{Prompt: []int32{1, 2, 3}, Params: Params{MaxTokens: 4}})
	if err != nil {
		fmt.Println(err)
		return
	}
	finish := ""
	for {
		t, ok, err := s.Next(context.Background())
		if err != nil || !ok {
			break
		}
		finish = t.Finish
	}
	fmt.Printf("%+v %s\n", s.Usage(), finish)
	// Output: {Prompt:3 Cached:0 Completion:4} length
}
