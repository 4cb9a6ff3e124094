package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
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
