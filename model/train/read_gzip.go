package train

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

// bounded is a stream that ends with an error where more comes out than may: more than max bytes, or more than maxRatio
// times what went in (a bomb shows after its first megabyte).
type bounded struct {
	in      *counter // compressed bytes; nil = not compressed
	out     io.Reader
	decoded int64
	max     int64
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// newBounded unwraps raw where its first bytes, head, are gzip's.
func newBounded(head []byte, raw io.Reader, max int64) (*bounded, error) {
	b := &bounded{out: raw, max: max}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		b.in = &counter{r: raw}
		z, err := gzip.NewReader(b.in)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		b.out = z
	}
	return b, nil
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.out.Read(p)
	b.decoded += int64(n)
	switch {
	case b.decoded > b.max:
		return 0, fmt.Errorf("it decodes to more than %d bytes (max_bytes)", b.max)
	case b.in != nil && b.decoded > ratioGrace && b.decoded > maxRatio*b.in.n:
		return 0, fmt.Errorf("it decodes to more than %d times its size: no text is like that", maxRatio)
	}
	if b.in != nil && err != nil && err != io.EOF {
		err = fmt.Errorf("gzip: %w", err)
	}
	return n, err
}
