// Command _gen makes the starter model's weights and prints the report for its card:
//
//	go run ./model/starter/_gen                       train into model/starter/weights, then report
//	go run ./model/starter/_gen -report               report on the weights that are there
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model/starter"
)

func main() {
	log.SetFlags(0)
	r := starter.Default()
	out := flag.String("o", "model/starter/weights", "folder for base and sft")
	report := flag.Bool("report", false, "report on the weights in -o, train nothing")
	set := flag.String("set", "", "recipe fields to change, as a JSON object")
	n := flag.Int("n", 500, "held-out prompts of the report")
	flag.Parse()
	if *set != "" {
		if err := json.Unmarshal([]byte(*set), &r); err != nil {
			log.Fatal(err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if !*report {
		if err := make_(ctx, r, *out); err != nil {
			log.Fatal(err)
		}
	}
	if err := reportOn(ctx, *out, *n); err != nil {
		log.Fatal(err)
	}
}

// make_ draws the data from the starter world and trains.
func make_(ctx context.Context, r starter.Recipe, out string) error {
	w := simulate.Starter()
	d := starter.Data{
		Texts: w.Corpus(r.Seed, r.Texts), HeldOutTexts: w.Corpus(simulate.HeldOut(r.Seed), r.HeldOut),
		Demos: pairs(w.Demonstrations(r.Seed, r.Demos)), HeldOutDemos: pairs(w.Demonstrations(simulate.HeldOut(r.Seed), r.HeldOut)),
	}
	begin, last := time.Now(), time.Now()
	return starter.Train(ctx, r, d, out, func(phase string, step, total int, m map[string]float64) {
		if time.Since(last) > 5*time.Second || step == total {
			last = time.Now()
			fmt.Fprintf(os.Stderr, "%6.1fs %-9s %5d/%d  loss %.4f  heldout %.4f  lr %.2g  vocab %.0f\n", time.Since(begin).Seconds(), phase, step, total,
				m["loss"], m["heldout_loss"], m["lr"], m["vocab"])
		}
	})
}

func pairs(list []simulate.Demonstration) [][2]string {
	out := make([][2]string, len(list))
	for i, x := range list {
		out[i] = [2]string{x.Prompt, x.Response}
	}
	return out
}
