package main

import (
	"bytes"
	"context"
	"encoding/json"
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
	for _, args := range []string{"bench train --shape huge", "bench train --seq 9999", "bench kernels --rows 0", "bench decode --batch 0", "bench decode --weights int4", "bench tokenizer --tokenizer none", "bench train --lora -1", "bench train --lora 2 --estimate", "bench ppo --samples 3", "bench ppo --critic none", "bench train --repeats 0"} {
		var out, errs bytes.Buffer
		if code := execute(context.Background(), strings.Fields(args), streams{strings.NewReader(""), &out, &errs}); code != exitUsage || errs.Len() == 0 {
			t.Errorf("%s: exit %d, %q", args, code, errs.String())
		}
	}
}

// Few rows wait for the weights to come from memory, at the share of its bandwidth that products reach; a model that the cache
// holds does not. Threads that find no share of the batch are waited for.
func TestMachineOnPaper(t *testing.T) {
	m := givenMachine(200e9, 40e9, 2)
	few := model.Operation{Call: model.Call{Kind: model.OpProduct, M: 1}, FLOPs: 2e6, Matrix: 340e6}
	for _, c := range []struct{ total, want float64 }{{500e6, 0.01}, {4e6, 340e6 / 120e9}} {
		if got := m.seconds(model.Work{}, few, c.total); math.Abs(got/c.want-1) > 1e-12 {
			t.Errorf("%g bytes of %g take %g s, want %g", few.Matrix, c.total, got, c.want)
		}
	}
	rows := model.Operation{Call: model.Call{Kind: model.OpElementwise}, Bytes: 80e9}
	for shares, want := range []float64{2, 4, 2, 8. / 3, 2} {
		rows.Shares = shares
		if got := m.seconds(model.Work{}, rows, 1); math.Abs(got-want) > 1e-12 {
			t.Errorf("%d shares take %g s, want %g", shares, got, want)
		}
	}
}
