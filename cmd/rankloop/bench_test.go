package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// Every benchmark runs, and its JSON holds rates beside limits.
func TestBench(t *testing.T) {
	for _, args := range []string{
		"bench train --shape small8k --batch 1 --seq 4",
		"bench decode --shape small8k --batch 2 --prompt 2 --tokens 2",
		"bench train --shape tiny --batch 1 --seq 4 --lora 2 --recompute",
		"bench decode --shape tiny --prompt 2 --tokens 2 --weights int8",
		"bench tokenizer",
		"bench kernels --rows 1",
		"bench ppo --shape tiny --episodes 4 --samples 2 --prompt 3 --tokens 2 --epochs 1 --minibatch 3 --savings",
		"bench ppo --shape tiny --episodes 2 --prompt 3 --tokens 2 --epochs 1 --minibatch 2 --critic separate",
		"bench small --shape toy,tiny --episodes 4 --topics 2 --minibatch 2",
	} {
		var out, errs bytes.Buffer
		code := execute(context.Background(), append(strings.Fields(args), "--repeats", "1", "--json"), streams{strings.NewReader(""), &out, &errs})
		if code != 0 {
			t.Fatalf("%s: exit %d: %s", args, code, errs.String())
		}
		var got struct{ Figures []figure }
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v in %s", args, err, out.String())
		}
		for _, f := range got.Figures {
			if !(f.Value > 0 && f.Limit > 0 && f.Ratio > 0 && f.Low <= f.Value && f.Value <= f.High) || f.Unit == "" {
				t.Errorf("%s: %+v", args, f)
			}
		}
		if len(got.Figures) == 0 {
			t.Errorf("%s: no figures", args)
		}
	}
	for _, args := range []string{"bench train --shape huge", "bench train --seq 9999", "bench kernels --rows 0", "bench decode --batch 0", "bench decode --weights int4", "bench tokenizer --tokenizer none", "bench train --lora -1", "bench train --lora 2 --estimate", "bench ppo --samples 3", "bench ppo --critic none", "bench small --shape stories15m", "bench small --mean 20", "bench small --topics 5", "bench train --repeats 0"} {
		var out, errs bytes.Buffer
		if code := execute(context.Background(), strings.Fields(args), streams{strings.NewReader(""), &out, &errs}); code != exitUsage || errs.Len() == 0 {
			t.Errorf("%s: exit %d, %q", args, code, errs.String())
		}
	}
}

// Responses are as long as they are meant to be, and the toy has the size that PyTorch's figure belongs to.
func TestBenchSmall(t *testing.T) {
	var out bytes.Buffer
	code := execute(context.Background(), strings.Fields("bench small --shape toy --repeats 3 --json"), streams{strings.NewReader(""), &out, io.Discard})
	var got struct {
		Shapes map[string]struct {
			Parameters int
			Length     float64
			Times      float64 `json:"times_pytorch_thread"`
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); code != 0 || err != nil {
		t.Fatal(code, err, out.String())
	}
	if s := got.Shapes["toy"]; s.Parameters != 108736 || math.Abs(s.Length-10) > 1 || !(s.Times > 0) {
		t.Errorf("%+v", s)
	}
}

// Few rows wait for the weights to come from memory, at the share of its bandwidth that products reach; a model that the cache
// holds does not.
func TestReadingWeightsTakesTime(t *testing.T) {
	m := machine{Memory: 40e9, Cache: 16 << 20}
	for _, c := range []struct{ total, matrix, want float64 }{
		{500e6, 340e6, 0.01}, {500e6, 170e6, 0.005}, {4e6, 340e6, 0}, {500e6, 0, 0},
	} {
		if got := m.reading(model.Operation{Matrix: c.matrix}, c.total); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%g of %g bytes take %g s, want %g", c.matrix, c.total, got, c.want)
		}
	}
}
