package main

import (
	"strings"
	"testing"

	"github.com/rankloop/rankloop/ppo/loop"
)

// TestOwnPolicyRow: the table of a round says where its probe stands.
func TestOwnPolicyRow(t *testing.T) {
	found := &loop.Estimate{Value: 0.482, Low: 0.43, High: 0.535, N: 384}
	for _, c := range []struct {
		probe loop.Probe
		found *loop.Estimate
		want  string
	}{
		{loop.ProbeNone, nil, "not asked for"},
		{loop.ProbeAnswer, nil, "being ranked"},
		{loop.ProbeMeasure, nil, "being ranked"},
		{loop.ProbeVoid, nil, "no ranking of the new policy's answers came"},
		{loop.ProbeFresh, found, "48.2%  [43.0, 53.5]  n=384 pairs\n"},
		{loop.ProbeStale, found, "48.2%  [43.0, 53.5]  n=384 pairs: stale, more rankings were ordered\n"},
	} {
		var out strings.Builder
		if err := writeReport(&out, loop.Round{Number: 3, Probe: c.probe, Report: &loop.Report{OnPolicy: c.found}}); err != nil {
			t.Fatal(err)
		}
		_, row, _ := strings.Cut(out.String(), "reward accuracy, own policy")
		row, _, _ = strings.Cut(row, "mean  score")
		if !strings.Contains(row, c.want) {
			t.Errorf("probe %q: %q, want %q", c.probe, row, c.want)
		}
	}
}
