// Command cl100k packs the merges of a tiktoken vocabulary whose tokens are numbered
// by rank, such as cl100k_base:
//
//	go run ./model/token/_gen/cl100k.go < cl100k_base.tiktoken > model/token/cl100k_merges.gz
//
// The format is told in package token, at cl100kMerges. It refuses a vocabulary that
// merges could not give back: bytes in another order than GPT-2's, a token that the
// lower ranks do not merge into exactly two.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	ranks := map[string]int{}
	var tokens []string
	s := bufio.NewScanner(os.Stdin)
	for s.Scan() {
		text, rank, _ := bytes.Cut(s.Bytes(), []byte(" "))
		token, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil || string(rank) != fmt.Sprint(len(tokens)) {
			log.Fatalf("line %d: %q", len(tokens)+1, s.Text())
		}
		ranks[string(token)] = len(tokens)
		tokens = append(tokens, string(token))
	}
	if err := s.Err(); err != nil {
		log.Fatal(err)
	}
	var planes [6][]byte
	for rank, token := range tokens[256:] {
		parts := merge(token, ranks, rank+256)
		if len(parts) != 2 {
			log.Fatalf("%q is made of %q", token, parts)
		}
		for i, p := range parts {
			for k := range 3 {
				planes[3*i+k] = append(planes[3*i+k], byte(ranks[p]>>(8*k)))
			}
		}
	}
	z, err := gzip.NewWriterLevel(os.Stdout, gzip.BestCompression)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range planes {
		if _, err := z.Write(p); err != nil {
			log.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		log.Fatal(err)
	}
}

// merge is the byte pair encoding of token by the tokens of lower rank.
func merge(token string, ranks map[string]int, below int) []string {
	var parts []string
	for i := range len(token) {
		parts = append(parts, token[i:i+1])
	}
	for {
		at, best := -1, below
		for i := range len(parts) - 1 {
			if r, ok := ranks[parts[i]+parts[i+1]]; ok && r < best {
				at, best = i, r
			}
		}
		if at < 0 {
			return parts
		}
		parts[at] += parts[at+1]
		parts = append(parts[:at+1], parts[at+2:]...)
	}
}
