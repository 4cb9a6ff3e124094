//go:build !noasm

package kernel

import "testing"

// atLevels runs f for both forms of the products, the portable one first; fused says that they are fused multiply-adds.
func atLevels(f func(name string, fused bool)) {
	before := level
	defer func() { level = before }()
	for l, name := range []string{"portable", "neon"} {
		level = l
		f(name, l == neon)
	}
}

func TestChoose(t *testing.T) {
	for env, want := range map[string]int{"": neon, "portable": portable, "avx2": neon} {
		if got := choose(env); got != want {
			t.Errorf("choose(%q) = %d, want %d", env, got, want)
		}
	}
	if class := Class(); class != "neon" && level > portable || class != "portable" && level == portable {
		t.Errorf("class %q at level %d", class, level)
	}
}
