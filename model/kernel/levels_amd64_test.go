//go:build amd64 && !noasm

package kernel

import "testing"

// eachLevel runs f for every instruction set of this machine; exact says that its products are to equal the reference to the bit.
func eachLevel(t *testing.T, f func(t *testing.T, exact bool)) {
	before := level
	defer func() { level = before }()
	for l, name := range []string{"portable", "avx2", "avx512"} {
		if l > supported() {
			t.Logf("this processor has no %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			level = l
			f(t, l > portable)
		})
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		env        string
		have, want int
	}{{"", avx512, avx512}, {"", portable, portable}, {"portable", avx512, portable}, {"avx2", avx512, avx2}, {"avx2", portable, portable}, {"avx512", avx2, avx2}, {"avx512", avx512, avx512}} {
		if got := choose(c.env, c.have); got != c.want {
			t.Errorf("choose(%q, %d) = %d, want %d", c.env, c.have, got, c.want)
		}
	}
	if class := Class(); class != "fma" && level > portable || class != "portable" && level == portable {
		t.Errorf("class %q at level %d", class, level)
	}
}
