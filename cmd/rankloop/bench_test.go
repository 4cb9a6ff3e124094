package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
		"bench train --shape tiny --batch 1 --seq 4 --recompute --beside",
		"bench tokenizer",
		"bench kernels --rows 1",
		"bench ppo --shape tiny --episodes 4 --samples 2 --prompt 3 --tokens 2 --epochs 1 --minibatch 3 --savings",
		"bench ppo --shape tiny --episodes 2 --prompt 3 --tokens 2 --epochs 1 --minibatch 2 --critic separate",
		"bench small --shape toy,tiny --episodes 4 --topics 2 --minibatch 2",
		"bench import --rows 1000 --settle 1000",
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
			if !(f.Value > 0 && (f.Limit > 0 && f.Ratio > 0 || strings.Contains(args, "--beside")) && f.Low <= f.Value && f.Value <= f.High) || f.Unit == "" {
				t.Errorf("%s: %+v", args, f)
			}
		}
		if len(got.Figures) == 0 {
			t.Errorf("%s: no figures", args)
		}
	}
	for _, args := range []string{"bench train --shape huge", "bench train --seq 9999", "bench kernels --rows 0", "bench decode --batch 0", "bench decode --weights int4", "bench tokenizer --tokenizer none", "bench train --lora -1", "bench train --lora 2 --estimate", "bench ppo --samples 3", "bench ppo --critic none", "bench small --shape stories15m", "bench small --mean 20", "bench small --topics 5", "bench train --repeats 0", "bench import --rows 1",
		"bench train --beside", "bench estimate --shapes huge", "bench estimate --of all", "bench estimate --within 0", "bench scaling --ladder 1", "bench scaling --batches 4", "bench scaling --out plot.png", "bench scaling --tokens 2000"} {
		var out, errs bytes.Buffer
		if code := execute(context.Background(), strings.Fields(args), streams{strings.NewReader(""), &out, &errs}); code != exitUsage || errs.Len() == 0 {
			t.Errorf("%s: exit %d, %q", args, code, errs.String())
		}
	}
}

// The engine's load gives figures with their bars, whatever they say of this machine.
func TestBenchAPI(t *testing.T) {
	var out, errs bytes.Buffer
	args := "bench api --of streams,beside,overload --shape toy --streams 4 --prompt 5 --tokens 6 --rate 50 --time 1s --repeats 1 --json"
	if code := execute(context.Background(), strings.Fields(args), streams{strings.NewReader(""), &out, &errs}); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	var got struct{ Bars []bar }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if len(got.Bars) != 6 {
		t.Errorf("%d figures", len(got.Bars))
	}
	for _, b := range got.Bars {
		if !(b.Value > 0) || b.Bar <= 0 || b.Holds != (b.Most == (b.Value <= b.Bar)) && b.Value != b.Bar {
			t.Errorf("%+v", b)
		}
	}
	for _, bad := range []string{"--streams 0", "--rate 0", "--calls 0", "--time 0s", "--shape none"} {
		if code := execute(context.Background(), strings.Fields("bench api "+bad), streams{strings.NewReader(""), &out, &errs}); code != exitUsage {
			t.Errorf("%s: exit %d", bad, code)
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

// Estimates stand beside what they estimate, in JSON and in a table. An estimate that is off is a failure, which is told.
func TestBenchEstimate(t *testing.T) {
	for _, precision := range []string{"float32", "mixed"} {
		var out, errs bytes.Buffer
		args := "bench estimate --shapes toy --batch 2 --seq 4 --tokens 2 --repeats 1 --within 1e9 --json --precision " + precision
		if code := execute(context.Background(), strings.Fields(args), streams{strings.NewReader(""), &out, &errs}); code != 0 {
			t.Fatalf("exit %d: %s", code, errs.String())
		}
		var got struct{ Estimates []checked }
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, k := range got.Estimates {
			names = append(names, k.Name)
			if !(k.Estimated > 0 && k.Low > 0 && k.Low <= k.Measured && k.Measured <= k.High) || k.Ratio != k.Estimated/k.Measured {
				t.Errorf("%+v", k)
			}
		}
		if want := []string{"prompts/toy/1x4", "decode/toy/1x1", "train/toy/2x4"}; !slices.Equal(names, want) {
			t.Errorf("%q, want %q", names, want)
		}
	}
	var out bytes.Buffer
	c := benchEstimateCmd{Within: 20, Repeats: 1}
	err := c.report(streams{nil, &out, &out}, []*checked{{Name: "a", Ratio: 0.81}, {Name: "b", Ratio: 1.21}, {Name: "c", Ratio: 1.19}})
	if err == nil || !strings.Contains(err.Error(), "1 of 3") || !strings.Contains(out.String(), "1.21") {
		t.Errorf("%v after %s", err, out.String())
	}
}

// A picture and the numbers that it shows; a power is found again.
func TestBenchScaling(t *testing.T) {
	for _, ext := range []string{"svg", "html"} {
		var out, errs bytes.Buffer
		file := filepath.Join(t.TempDir(), "plot."+ext)
		args := "bench scaling --shape toy --batches 1,2 --seq 4 --ladder 2 --tokens 8 --repeats 1 --json --out " + file
		if code := execute(context.Background(), strings.Fields(args), streams{strings.NewReader(""), &out, &errs}); code != 0 {
			t.Fatalf("exit %d: %s", code, errs.String())
		}
		var got struct{ Scaling []scaling }
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Scaling) != 2 || len(got.Scaling[0].Points) != 2 || len(got.Scaling[1].Points) != 2 || got.Scaling[0].Points[1].X != 8 {
			t.Errorf("%s", out.String())
		}
		picture, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(picture, []byte("measured")) {
			t.Errorf("%v: %.200s", err, picture)
		}
	}
	s := scaling{}
	for _, x := range []float64{1, 3, 10, 50} {
		s.Points = append(s.Points, scalingPoint{x, checked{Measured: 2 * math.Pow(x, 0.75)}})
	}
	if slope, r2 := s.fit(); math.Abs(slope-0.75) > 1e-12 || math.Abs(r2-1) > 1e-12 {
		t.Errorf("slope %g, R² %g", slope, r2)
	}
	s.Points[1].Measured *= 2
	if _, r2 := s.fit(); r2 > 0.99 || r2 < 0.5 {
		t.Errorf("R² %g of a power that is disturbed", r2)
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

// TestBenchHTTP: a server of its own is started, asked and ended, and both figures come.
func TestBenchHTTP(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := exec.Command(program, strings.Fields("bench api --of http --calls 20 --streams 2 --time 1s --repeats 1 --json")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Bars []bar }
	if err := json.Unmarshal(raw, &got); err != nil || len(got.Bars) != 2 || !(got.Bars[0].Value > 0) || !(got.Bars[1].Value > 0) {
		t.Errorf("%s, %v", raw, err)
	}
}
