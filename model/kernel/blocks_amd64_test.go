//go:build amd64 && !noasm

package kernel

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Products of several strips and depths have the bits of their rows computed one by one, with whole panels, which are copied
// between the multiply-adds, and without, and where few rows are too few for that; whichever core the blocks are chosen for.
func TestBlocks(t *testing.T) {
	before := wideCore
	defer func() { wideCore = before }()
	defer SetThreads(Threads())
	SetThreads(1) // else no task has more than a few panels
	eachLevel(t, func(t *testing.T, _ bool) {
		rng := rand.New(rand.NewPCG(81, 82))
		for _, s := range [][3]int{{100, 432, 800}, {49, 288, 770}, {65, 576, 33}, {33, 432, 385}, {130, 300, 390}, {97, 290, 1155}, {300, 48, 1537}, {25, 1440, 768}, {65, 432, 6}, {900, 200, 40}} {
			M, N, K := s[0], s[1], s[2]
			a, b := randoms(rng, M*K), randoms(rng, K*N)
			at, bt := make([]float32, M*K), make([]float32, K*N)
			transposeGo(at, M, a, K, M, K)
			transposeGo(bt, K, b, N, K, N)
			start := randoms(rng, M*N)
			for _, acc := range []bool{false, true} {
				want := append([]float32(nil), start...)
				for i := range M {
					NN(1, N, K, a[i*K:], K, b, N, want[i*N:], N, acc)
				}
				for _, wideCore = range []bool{false, true} {
					for layout, run := range []func(c []float32){
						func(c []float32) { NN(M, N, K, a, K, b, N, c, N, acc) },
						func(c []float32) { NT(M, N, K, a, K, bt, K, c, N, acc) },
						func(c []float32) { TN(M, N, K, at, M, b, N, c, N, acc) },
					} {
						c, intact := guarded(t, M*N, 3)
						copy(c, start)
						run(c)
						intact()
						for i, v := range c {
							if !same(v, want[i]) {
								t.Fatalf("%s %v acc=%v wide=%v: C[%d,%d] is %v, want %v", layouts[layout].name, s, acc, wideCore, i/N, i%N, v, want[i])
							}
						}
					}
				}
			}
		}
	})
}

// Every block of B comes once, those that continue a sum in the order of k.
func TestBlockOrder(t *testing.T) {
	for _, downFirst := range []bool{false, true} {
		w := blocks{product: &product{K: 1000}, j0: 30, j1: 700, depth: 334, width: 144, downFirst: downFirst}
		seen := map[int]int{} // column to the k that have come
		for b := w.at(0, w.j0); b.kc > 0; b = w.after(b) {
			for j := b.j; j < b.end; j++ {
				if seen[j] != b.k {
					t.Fatalf("downFirst=%v: block %v comes when column %d is at k=%d", downFirst, b, j, seen[j])
				}
				seen[j] += b.kc
			}
		}
		for j := w.j0; j < w.j1; j++ {
			if seen[j] != w.K {
				t.Fatalf("downFirst=%v: column %d got to k=%d of %d", downFirst, j, seen[j], w.K)
			}
		}
		if len(seen) != w.j1-w.j0 {
			t.Fatalf("downFirst=%v: %d columns of %d", downFirst, len(seen), w.j1-w.j0)
		}
	}
}

// The first-level cache is read out of what processors answer, and this one's is what the system says, where it says anything.
func TestFirstLevel(t *testing.T) {
	type answers map[[2]uint32][3]uint32
	for _, x := range []struct {
		name string
		said answers
		want int
	}{
		{"48 kB, instructions listed first", answers{{0, 0}: {32}, {4, 0}: {0x22, 7<<22 | 63, 63}, {4, 1}: {0x21, 11<<22 | 63, 63}, {4, 2}: {0x43, 15<<22 | 63, 2047}}, 48 << 10},
		{"32 kB by AMD's leaf", answers{{0, 0}: {16}, {0x80000000, 0}: {0x80000028}, {0x8000001d, 0}: {0x21, 7<<22 | 63, 63}}, 32 << 10},
		{"a second level only", answers{{0, 0}: {32}, {4, 0}: {0x43, 15<<22 | 63, 2047}}, 0},
		{"says nothing", answers{}, 0},
	} {
		ask := func(leaf, sub uint32) (a, b, c, d uint32) {
			v := x.said[[2]uint32{leaf, sub}]
			return v[0], v[1], v[2], 0
		}
		if got := firstLevel(ask); got != x.want {
			t.Errorf("%s: %d bytes, want %d", x.name, got, x.want)
		}
	}
	got := firstLevel(cpuid)
	if got < 0 || got > 1<<20 || got%4096 != 0 {
		t.Fatalf("a first-level cache of %d bytes", got)
	}
	_, vendor, _, _ := cpuid(0, 0)
	if intel := vendor == 0x756e6547; runtime.GOOS != "linux" || got == 0 && !intel { // others need not list their caches
		return
	}
	text, err := os.ReadFile("/sys/devices/system/cpu/cpu0/cache/index0/size") // data; instructions are index1
	if err != nil {                                                            // it lists none: the answers above stand for it
		return
	}
	want, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(string(text)), "K"))
	if err != nil {
		t.Fatal(err)
	}
	if got != want<<10 {
		t.Errorf("a first-level cache of %d bytes, the system says %d kB", got, want)
	}
}
