//go:build race

package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// racy names the environment of the process that TestRaces starts.
const racy = "RANKLOOP_TEST_RACY"

// raced are the kernels that may be assembly: run works on the operands, reads and writes name those that another goroutine must
// not write, or not even read, meanwhile.
var raced = []struct {
	name          string
	run           func(o *operands)
	reads, writes string
}{
	{"Exp", func(o *operands) { Exp(o.dst, o.x) }, "x", "d"},
	{"GELU", func(o *operands) { GELU(o.dst, o.x) }, "x", "d"},
	{"GELUBackward", func(o *operands) { GELUBackward(o.dst, o.x, o.y) }, "xy", "d"},
	{"SiLU", func(o *operands) { SiLU(o.dst, o.x) }, "x", "d"},
	{"SiLUBackward", func(o *operands) { SiLUBackward(o.dst, o.x, o.y) }, "xy", "d"},
	{"Add", func(o *operands) { Add(o.dst, o.x) }, "x", "d"},
	{"Mul", func(o *operands) { Mul(o.dst, o.x) }, "x", "d"},
	{"Scale", func(o *operands) { Scale(o.dst, 2) }, "", "d"},
	{"Axpy", func(o *operands) { Axpy(o.dst, 2, o.x) }, "x", "d"},
	{"Dot", func(o *operands) { Dot(o.x, o.y) }, "xy", ""},
	{"SumSquares", func(o *operands) { SumSquares(o.x) }, "x", ""},
	{"Softmax", func(o *operands) { Softmax(o.dst, o.x, 1) }, "x", "d"},
	{"Exponents", func(o *operands) { Exponents(o.dst, o.x, 1) }, "x", "d"},
	{"LogSumExp", func(o *operands) { LogSumExp(o.x) }, "x", ""},
	{"expTotal", func(o *operands) { expTotal(o.x, 1, 0) }, "x", ""},
	{"expSum", func(o *operands) { expSum(o.dst, o.x, 1, 0) }, "x", "d"},
	{"maximum", func(o *operands) { maximum(o.x) }, "x", ""},
	{"Sum", func(o *operands) { Sum(o.x) }, "x", ""},
	{"sumDeviations", func(o *operands) { sumDeviations(o.x, 1) }, "x", ""},
	{"softmaxGrad", func(o *operands) { softmaxGrad(o.dst, o.x, o.y, 1, 1) }, "xy", "d"},
	{"normalise", func(o *operands) { normalise(o.dst, o.x, o.y, o.z, 0, 1) }, "xyz", "d"},
	{"normSums", func(o *operands) { normSums(o.x, o.y, o.z, 0, 1) }, "xyz", ""},
	{"normInput", func(o *operands) { normInput(o.dst, o.x, o.y, o.z, 0, 1, 0, 0) }, "xyz", "d"},
	{"normColumns", func(o *operands) { normColumns(o.dst, o.w, o.x, o.y, nil, o.z[:1], 1, o.n) }, "xy", "dw"},
	{"AdamW", func(o *operands) { AdamW(o.dst, o.x, o.y, o.z, 1, 0, 0, 1, 0, 1, 1, 1) }, "x", "dyz"},
	{"Widen", func(o *operands) { Widen(o.dst, o.h) }, "h", "d"},
	{"transpose", func(o *operands) { transpose(o.dst, 16, o.x, 16, 16, 16) }, "x", "d"},
	{"ReadLoop", func(o *operands) { ReadLoop(o.x) }, "x", ""},
	{"NN", func(o *operands) { NN(16, 16, 16, o.x, 16, o.y, 16, o.dst, 16, false) }, "xy", "d"},
	{"NN of a row", func(o *operands) { NN(1, 16, 16, o.x[240:], 16, o.y, 16, o.dst[240:], 16, true) }, "y", ""},
	{"NT", func(o *operands) { NT(16, 16, 16, o.x, 16, o.y, 16, o.dst, 16, false) }, "xy", "d"},
	{"TN", func(o *operands) { TN(16, 16, 16, o.x, 16, o.y, 16, o.dst, 16, false) }, "xy", "d"},
	{"NNBF16", func(o *operands) { NNBF16(16, 16, 16, o.x, 16, o.h, 16, o.dst, 16, false) }, "xh", "d"},
	{"NTBF16", func(o *operands) { NTBF16(2, 128, 2, o.x, 2, o.h, 2, o.dst, 128, false) }, "h", "d"},
	{"NNMixed", func(o *operands) { NNMixed(16, 16, 16, o.x, 16, o.y, 16, o.dst, 16, false) }, "xy", "d"},
	{"NTMixed", func(o *operands) { NTMixed(16, 16, 16, o.x, 16, o.y, 16, o.dst, 16, false) }, "xy", "d"},
	{"TNMixed", func(o *operands) { TNMixed(16, 16, 16, o.x, 16, o.y, 16, o.dst, 16, false) }, "xy", "d"},
	{"apart", func(o *operands) { apart(4, 16, 4, o.x, 4, o.y, 16, 64, o.dst, 16, false) }, "xy", "d"},
	{"Panels", func(o *operands) { o.panels.Mul(4, o.x, 64, o.dst, 64, false) }, "xp", "d"},
}

// touch reads or writes the first and the last element of an operand.
func (o *operands) touch(name rune, write bool) {
	m := map[rune][]float32{'x': o.x, 'y': o.y, 'z': o.z, 'w': o.w, 'd': o.dst, 'p': o.panels.wide}[name]
	switch last := len(m) - 1; {
	case name == 'h' && write:
		o.h[0], o.h[o.n-1] = 1, 1
	case write:
		m[0], m[last] = 1, 1
	default:
		o.sum = float64(m[0] + m[last])
	}
}

// TestRacyProgram is the program that TestRaces starts: each kernel in a race for one of its operands, one after the other.
func TestRacyProgram(t *testing.T) {
	if os.Getenv(racy) == "" {
		return
	}
	SetThreads(1)
	for _, k := range raced {
		for _, c := range k.reads + strings.ToUpper(k.writes) {
			name := []rune(strings.ToLower(string(c)))[0]
			rng := rand.New(rand.NewPCG(1, 2))
			o := &operands{n: 256, x: randoms(rng, 256), y: randoms(rng, 256), z: randoms(rng, 256), w: randoms(rng, 256), dst: randoms(rng, 256), h: halfOf(rng, 256)}
			o.panels = PanelsNN(FormFloat32, 64, 64, randoms(rng, 64*64), 64, nil)
			fmt.Fprintf(os.Stderr, "\nkernel %s, operand %c\n", k.name, c)
			var both sync.WaitGroup
			both.Go(func() { o.touch(name, name == c) })
			both.Go(func() { k.run(o) })
			both.Wait()
		}
	}
}

// Under the race detector a write of what a kernel reads is reported, and a read of what it writes, whatever the instruction set.
func TestRaces(t *testing.T) {
	for _, level := range []string{"", "avx512", "avx2", "portable"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestRacyProgram$")
		cmd.Env = append(os.Environ(), racy+"=1", "RANKLOOP_KERNEL="+level, "GORACE=suppress_equal_stacks=0 suppress_equal_addresses=0 atexit_sleep_ms=0")
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatalf("%q: the racy program ended well:\n%s", level, out)
		}
		parts := strings.Split(string(out), "\nkernel ")[1:]
		if len(parts) < len(raced) {
			t.Fatalf("%q: the racy program had %d races only:\n%s", level, len(parts), out)
		}
		for _, part := range parts {
			name, report, _ := strings.Cut(part, "\n")
			if !strings.Contains(report, "WARNING: DATA RACE") {
				t.Errorf("%q, kernel %s: the race was not reported", level, name)
			}
		}
	}
}
