package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/rankloop/rankloop/ppo/loop"
)

// writeReport prints the table that ends a round.
func writeReport(w io.Writer, r loop.Round) error {
	rep := r.Report
	if rep == nil {
		_, err := fmt.Fprintf(w, "round %d: %s %s\n", r.Number, r.Stage, r.Error)
		return err
	}
	number := func(e loop.Estimate) string { return fmt.Sprintf("%+.3f  [%+.3f, %+.3f]", e.Value, e.Low, e.High) }
	ceiling := ""
	if rep.RewardCeiling > 0 {
		ceiling = fmt.Sprintf("  ceiling %.1f%%", 100*rep.RewardCeiling)
	}
	promoted := "not promoted: "
	if rep.Promoted {
		promoted = "promoted: "
	}
	rows := [][2]string{
		{"rankings", fmt.Sprintf("%d (%d in this round)", rep.Rankings, rep.RoundRankings)},
		{"labeler agreement", percent(rep.Agreement) + fmt.Sprintf("  n=%d pairs", rep.Agreement.N)},
		{"reward accuracy, held out", percent(rep.RewardAccuracy) + ceiling + fmt.Sprintf("  n=%d pairs", rep.RewardAccuracy.N)},
		{"reward accuracy, own policy", onPolicy(r)},
		{"mean " + rep.Judge + " score, SFT", number(rep.ScoreSFT)},
		{"  before", number(rep.ScoreBefore)},
		{"  after", number(rep.ScoreAfter)},
		{"win rate against SFT", percent(rep.WinSFT) + fmt.Sprintf("  n=%d held-out prompts", rep.WinSFT.N)},
		{"win rate against serving", percent(rep.WinServing)},
		{"KL from SFT", fmt.Sprintf("%.2f nats a response  [%.2f, %.2f]", rep.KL.Value, rep.KL.Low, rep.KL.High)},
		{"answers", fmt.Sprintf("%.1f tokens long, %.1f%% end by themselves", rep.Length, 100*rep.EOSRate)},
		{"speed", fmt.Sprintf("%.0f tokens/s sampled and learned from, round %.0f s", rep.TokensPerS, rep.Seconds)},
		{"decision", promoted + rep.Reason},
	}
	fmt.Fprintf(w, "\nRound %d\n%s\n", r.Number, strings.Repeat("-", 72))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(tw, "%s\t%s\n", row[0], row[1])
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, e := range rep.Examples[:min(3, len(rep.Examples))] {
		fmt.Fprintf(w, "\n  %s\n    SFT   (%+.2f)  %s\n    after (%+.2f)  %s\n", e.Prompt, e.ScoreSFT, e.SFT, e.ScoreAfter, e.After)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// onPolicy says what is known of the reward model on the new policy's own answers.
func onPolicy(r loop.Round) string {
	switch e := r.Report.OnPolicy; {
	case e != nil && r.Probe == loop.ProbeStale:
		return percent(*e) + fmt.Sprintf("  n=%d pairs: stale, more rankings were ordered", e.N)
	case e != nil:
		return percent(*e) + fmt.Sprintf("  n=%d pairs", e.N)
	case r.Probe == loop.ProbeVoid:
		return "no ranking of the new policy's answers came"
	case r.Probe != loop.ProbeNone:
		return "being ranked"
	}
	return "not asked for"
}

func percent(e loop.Estimate) string {
	if e.N == 0 {
		return "not measured"
	}
	return fmt.Sprintf("%.1f%%  [%.1f, %.1f]", 100*e.Value, 100*e.Low, 100*e.High)
}
