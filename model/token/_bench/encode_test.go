// Package bench compares the speed of package token with another Go implementation,
// tiktoken-go, in a module of its own, so that the program does not depend on it:
//
//	cd model/token/_bench && RANKLOOP_BENCH_TEXT=/path/to/texts go test -bench .
//
// RANKLOOP_BENCH_TEXT is a file or a folder; without it a made-up text is used. Both
// encode the same pieces by turns, so that what else the machine does hits both alike.
package bench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tiktoken "github.com/tiktoken-go/tokenizer"

	"github.com/rankloop/rankloop/model/token"
)

var encodings = []struct {
	name   string
	ours   func() token.Tokenizer
	theirs tiktoken.Encoding
}{
	{"gpt2", token.GPT2, tiktoken.R50kBase},
	{"cl100k", token.CL100K, tiktoken.Cl100kBase},
}

// BenchmarkEncode reports how many times as fast as tiktoken-go it is: "x", and "x-first"
// on the first pass, when no word is remembered yet.
func BenchmarkEncode(b *testing.B) {
	texts := texts(b)
	size := 0
	for _, t := range texts {
		size += len(t)
	}
	for _, e := range encodings {
		b.Run(e.name, func(b *testing.B) {
			ours := e.ours()
			theirs, err := tiktoken.Get(e.theirs)
			if err != nil {
				b.Fatal(err)
			}
			ours.Encode("begin")
			if _, _, err := theirs.Encode("begin"); err != nil {
				b.Fatal(err)
			}
			pass := func() (our, their time.Duration) {
				for _, text := range texts {
					t0 := time.Now()
					a := ours.Encode(text)
					t1 := time.Now()
					c, _, err := theirs.Encode(text)
					t2 := time.Now()
					if err != nil || !slices.EqualFunc(a, c, func(x int32, y uint) bool { return int(x) == int(y) }) {
						b.Fatalf("other ids than tiktoken-go (%v)", err)
					}
					our, their = our+t1.Sub(t0), their+t2.Sub(t1)
				}
				return our, their
			}
			our1, their1 := pass()
			var our, their time.Duration
			for b.Loop() {
				o, t := pass()
				our, their = our+o, their+t
			}
			mb := float64(b.N) * float64(size) / 1e6
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(mb/our.Seconds(), "MB/s")
			b.ReportMetric(mb/their.Seconds(), "MB/s-tiktoken-go")
			b.ReportMetric(their.Seconds()/our.Seconds(), "x")
			b.ReportMetric(their1.Seconds()/our1.Seconds(), "x-first")
		})
	}
}

// texts are pieces of some 64 KB, in all a few MB at most.
func texts(b *testing.B) []string {
	path := os.Getenv("RANKLOOP_BENCH_TEXT")
	if path == "" {
		return []string{madeUp(1 << 20)}
	}
	files := []string{path}
	if info, err := os.Stat(path); err != nil {
		b.Fatal(err)
	} else if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.txt")); err != nil || len(files) == 0 {
			b.Fatalf("no .txt files in %s", path)
		}
	}
	const piece, most = 64 << 10, 4 << 20
	var out []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		text := strings.ToValidUTF8(string(data[:min(len(data), most/len(files))]), "")
		for len(text) > 0 {
			n := piece
			if n < len(text) {
				if i := strings.LastIndexByte(text[:n], '\n'); i > 0 {
					n = i
				}
			}
			n = min(n, len(text))
			out = append(out, strings.ToValidUTF8(text[:n], ""))
			text = text[n:]
		}
	}
	return out
}

// madeUp is text of words that are drawn by Zipf's law.
func madeUp(n int) string {
	rng := rand.New(rand.NewPCG(3, 4))
	zipf := rand.NewZipf(rng, 1.1, 8, 1<<17)
	var b strings.Builder
	for b.Len() < n {
		for v := zipf.Uint64()*2654435761 + 7; v > 0; v /= 977 {
			b.WriteString("bacedifoguhajekilomunop"[v%20 : v%20+3])
		}
		b.WriteByte(" \n,.    "[rng.IntN(8)])
		if rng.IntN(40) == 0 {
			fmt.Fprint(&b, rng.IntN(10000), " ")
		}
	}
	return b.String()
}
