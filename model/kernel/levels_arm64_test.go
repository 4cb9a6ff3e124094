//go:build !noasm

package kernel

import "testing"

// eachLevel runs f for both forms of the products; fused says that they are fused multiply-adds.
func eachLevel(t *testing.T, f func(t *testing.T, fused bool)) {
	before := level
	defer func() { level = before }()
	for l, name := range []string{"portable", "neon"} {
		t.Run(name, func(t *testing.T) {
			level = l
			f(t, l == neon)
		})
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
