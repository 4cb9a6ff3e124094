package token

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// fixtures opens a file of the reference numbers.
func fixture(t testing.TB, name string) *os.File {
	t.Helper()
	root := os.Getenv("RANKLOOP_FIXTURES")
	if root == "" {
		root = filepath.Join("..", "testdata", "fixtures")
	}
	f, err := os.Open(filepath.Join(root, "tokenizer", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

type vector struct {
	Name string
	Text string
	IDs  []int32
}

func vectors(t testing.TB, file string) []vector {
	var out []vector
	s := bufio.NewScanner(fixture(t, file))
	s.Buffer(nil, 1<<24)
	for s.Scan() {
		var v vector
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	if err := s.Err(); err != nil || len(out) < 200 {
		t.Fatalf("%d vectors, error %v", len(out), err)
	}
	return out
}
