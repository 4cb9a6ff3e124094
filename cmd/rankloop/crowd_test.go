package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestCrowd: the command's figures on crowds enough to see a broken rule; the bar itself takes the 200 of its default.
func TestCrowd(t *testing.T) {
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"crowd", "--seeds", "0-11", "--json"}, streams{strings.NewReader(""), &out, &errs}); code != 0 {
		t.Fatalf("exit %d: %s%s", code, out.String(), errs.String())
	}
	var r crowdReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Crowds != 12 || r.Bad.N != 30 || r.Honest.N != 210 || !r.Holds || r.Agreement < 0.66 || r.Agreement > 0.76 || r.Bad.Labels > 40 {
		t.Errorf("%+v", r)
	}
	for _, args := range [][]string{{"--seeds", "x"}, {"--k", "12"}, {"--bad", "20"}, {"--overlap", "0"}, {"--gold", "1"}} {
		if code := execute(t.Context(), append([]string{"crowd"}, args...), streams{strings.NewReader(""), &out, &errs}); code != exitUsage {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}
