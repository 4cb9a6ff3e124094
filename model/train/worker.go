package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/token"
)

// Kinds of runs.
const (
	Pretrain = "pretrain.train"
	SFT      = "sft.train"
)

// RunConfig is what the row of a run says about it. Everything that decides the result is named by its digest.
type RunConfig struct {
	Name     string `json:"name"`               // of the version that the run makes
	Base     string `json:"base,omitempty"`     // id of the version that training starts from; "" = new weights, or a folder
	Start    string `json:"start"`              // digest of the model folder that training starts from
	Data     string `json:"data"`               // digest of the dataset folder
	Template string `json:"template,omitempty"` // chat template; "" = prompts are taken as they are
	Train    Config `json:"train"`
}

// Worker makes the runs of this package for model/run's worker.
type Worker struct {
	Registry *registry.Store
	Blobs    checkpoint.Blobs
	Scratch  string // folder for what is being published
	Limit    int64  // bytes of memory that a run may take; 0 = what is available when it begins
}

// Kinds are the kinds of runs, pretrain.train and sft.train.
func (w *Worker) Kinds() []run.Kind {
	return []run.Kind{
		{Name: Pretrain, New: w.open, Prepare: w.publish, Finish: w.register},
		{Name: SFT, New: w.open, Prepare: w.publish, Finish: w.register},
	}
}

// job is a trainer with what is needed to publish its result.
type job struct {
	*Trainer
	cfg       RunConfig
	kind      string // of the version
	tok       token.Tokenizer
	published map[string]string // digests of the folders, by the suffix of the version's name
}

func (j *job) Step(ctx context.Context) (run.Metrics, error) { return j.Trainer.Step(ctx) }

// open makes the trainer of a run at step 0.
func (w *Worker) open(ctx context.Context, r run.Run) (run.Trainer, error) {
	var cfg RunConfig
	if err := json.Unmarshal(r.Config, &cfg); err != nil {
		return nil, fmt.Errorf("train: config of run %s: %w", r.ID, err)
	}
	limit := w.Limit
	if limit == 0 {
		debug.FreeOSMemory() // of the run before
		limit, _ = Available()
	}
	cp, err := w.load(ctx, cfg)
	if err != nil {
		return nil, err
	}
	dir, err := w.Blobs.Open(ctx, cfg.Data)
	if err != nil {
		return nil, fmt.Errorf("train: dataset: %w", err)
	}
	rows, _, err := OpenDataset(dir)
	if err != nil {
		return nil, err
	}
	var template token.ChatTemplate
	if cfg.Template != "" {
		if template, err = token.Chat(cfg.Template); err != nil {
			return nil, err
		}
	}
	j := &job{cfg: cfg, kind: registry.Base, tok: cp.Tokenizer, published: map[string]string{}}
	kinds := []Kind{KindText}
	if r.Kind == SFT {
		j.kind, kinds = registry.SFT, []Kind{KindMessages, KindPairs}
	}
	train, valid, _, err := rows.Encode(cp.Tokenizer, template, cp.Model.Config().Context, kinds...)
	if err != nil {
		return nil, err
	}
	if limit > 0 {
		if err := cfg.Train.Fits(cp.Model.Config(), train, valid, limit); err != nil {
			return nil, err
		}
	}
	if j.Trainer, err = NewTrainer(cfg.Train, cp.Model, train, valid); err != nil {
		return nil, err
	}
	j.Keep = func(ctx context.Context, step int) (string, error) {
		card := j.card()
		card.Notes = fmt.Sprintf("step %d of run %s", step, r.ID) // of no other run, so that Drop takes it from none
		return w.put(ctx, r.ID, func(dir string) error { return j.Write(dir, Last, j.tok, card) })
	}
	j.Drop = w.Blobs.Delete
	return j, nil
}

// load opens the model folder that training starts from.
func (w *Worker) load(ctx context.Context, cfg RunConfig) (*checkpoint.Checkpoint, error) {
	dir, err := w.Blobs.Open(ctx, cfg.Start)
	if err != nil {
		return nil, fmt.Errorf("train: starting model: %w", err)
	}
	load := checkpoint.Load
	if cfg.Train.Precision == BF16 {
		load = checkpoint.LoadBF16
	}
	cp, err := load(dir)
	if err == nil && cp.Tokenizer == nil {
		err = errors.New("there is no tokenizer in the folder")
	}
	if err != nil {
		return nil, fmt.Errorf("train: starting model: %w", err)
	}
	return cp, nil
}

func (j *job) card() checkpoint.Card {
	return checkpoint.Card{Kind: j.kind, Parents: j.parents(), Snapshot: j.cfg.Data, Template: j.cfg.Template}
}

func (j *job) parents() []string {
	if j.cfg.Base == "" {
		return nil
	}
	return []string{j.cfg.Base}
}

// put writes a folder into the blob store. Doing it again gives the same digest.
func (w *Worker) put(ctx context.Context, runID string, write func(dir string) error) (string, error) {
	dir := filepath.Join(w.Scratch, runID)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := write(dir); err != nil {
		return "", err
	}
	return w.Blobs.Put(ctx, dir)
}

// publish stores the result and the best weights.
func (w *Worker) publish(ctx context.Context, r run.Run, trainer run.Trainer) (err error) {
	j := trainer.(*job)
	for suffix, which := range map[string]Which{"": Last, "-best": Best} {
		if which == Best && (!j.HasBest() || j.watch.BestStep == j.step) { // the best is the result
			continue
		}
		if j.published[suffix], err = w.put(ctx, r.ID, func(dir string) error { return j.Write(dir, which, j.tok, j.card()) }); err != nil {
			return fmt.Errorf("train: publish: %w", err)
		}
	}
	return nil
}

// register makes versions of what was published and of the steps that were kept.
func (w *Worker) register(ctx context.Context, tx pgx.Tx, r run.Run, trainer run.Trainer) error {
	j := trainer.(*job)
	add := func(suffix, digest string, metrics map[string]float64) error {
		_, err := w.Registry.Register(ctx, tx, registry.Version{Kind: j.kind, Name: j.cfg.Name + suffix, Digest: digest, Parents: j.parents(), RunID: &r.ID, Metrics: metrics})
		return err
	}
	for _, k := range j.Kept() {
		if k.Step == j.step {
			continue // the result
		}
		if err := add(fmt.Sprintf("-step-%d", k.Step), k.Name, map[string]float64{"step": float64(k.Step)}); err != nil {
			return err
		}
	}
	if digest, ok := j.published["-best"]; ok {
		if err := add("-best", digest, j.Measures(Best)); err != nil {
			return err
		}
	}
	return add("", j.published[""], j.Measures(Last))
}
