package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/model/train"
)

// maxDemonstrations bounds what one project's demonstrations give.
const maxDemonstrations = 1 << 20

// submit stores the data and the starting model in the blob store and queues the run.
func (f nextFlags) submit(ctx context.Context, std streams, kind string, cfg nextConfig) error {
	if f.Out != "" || f.Resume {
		return usageError{errors.New("--out and --resume are of runs here; a submitted run goes on by itself, and its result is a version ('rankloop model list')")}
	}
	if l := cfg.Train.LoRA; l != nil && l.AdapterOnly {
		return usageError{errors.New(`configuration: "adapter_only" is of runs here; a version is a whole model`)}
	}
	limit, err := f.limit()
	if err != nil {
		return err
	}
	return f.with(ctx, std, func(a *app) error {
		r, err := a.submitTraining(ctx, std, kind, cfg, limit)
		if err != nil {
			return err
		}
		if !f.Watch {
			if f.JSON {
				return json.NewEncoder(std.out).Encode(r)
			}
			_, err := fmt.Fprintln(std.out, r.ID)
			return err
		}
		return a.watchTraining(ctx, std, r.ID, f.JSON)
	})
}

// submitTraining checks everything that a worker will need before the run is there.
func (a *app) submitTraining(ctx context.Context, std streams, kind string, cfg nextConfig, limit int64) (run.Run, error) {
	dir := filepath.Join(a.dir, "scratch", uuid.NewString())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return run.Run{}, err
	}
	defer os.RemoveAll(dir)
	// The stored rows are what is trained on, so they are what is checked.
	if _, err := a.trainingRows(ctx, cfg).Write(dir, cfg.Data); err != nil {
		return run.Run{}, err
	}
	rows, _, err := train.OpenDataset(dir)
	if err != nil {
		return run.Run{}, err
	}
	job := train.RunConfig{Name: cfg.Name, Template: cfg.Template, Train: cfg.Train}
	if job.Template == "none" {
		job.Template = ""
	}
	if cfg.Model != "" {
		if err := a.trainingBase(ctx, &cfg, &job); err != nil {
			return run.Run{}, err
		}
	}
	p, err := cfg.prepare(std, kind, rows, limit)
	if err != nil {
		return run.Run{}, err
	}
	if job.Start == "" {
		folder := filepath.Join(dir, "start")
		dtype := "F32"
		if p.start.Model.BF16() {
			dtype = "BF16"
		}
		if err := p.start.Save(folder, dtype); err != nil {
			return run.Run{}, err
		}
		if job.Start, err = a.blobs.Put(ctx, folder); err != nil {
			return run.Run{}, err
		}
		if err := os.RemoveAll(folder); err != nil { // a dataset's folder holds files alone
			return run.Run{}, err
		}
	}
	if _, err := train.NewTrainer(cfg.Train, p.start.Model, p.data, p.valid); err != nil {
		return run.Run{}, err
	}
	if job.Data, err = a.blobs.Put(ctx, dir); err != nil {
		return run.Run{}, err
	}
	if job.Name == "" {
		job.Name = p.kind + "-" + time.Now().UTC().Format("20060102-150405")
	}
	var r run.Run
	err = pgx.BeginFunc(ctx, a.db.Jobs, func(tx pgx.Tx) error {
		var err error
		r, err = a.runs.Create(ctx, tx, kind, job, nil)
		return err
	})
	return r, err
}

// trainingBase finds the version that training starts from; a folder, base and sft are no versions.
func (a *app) trainingBase(ctx context.Context, cfg *nextConfig, job *train.RunConfig) error {
	if st, err := os.Stat(cfg.Model); err == nil && st.IsDir() || cfg.Model == "base" || cfg.Model == "sft" {
		return nil
	}
	v, err := a.version(ctx, cfg.Model)
	if errors.Is(err, registry.ErrNotFound) {
		return fmt.Errorf("%s is neither a folder nor a version; 'rankloop model list' shows the versions", cfg.Model)
	}
	if err != nil {
		return err
	}
	dir, err := a.blobs.Open(ctx, v.Digest)
	if err != nil {
		return err
	}
	cfg.Model, job.Base, job.Start = dir, v.ID, v.Digest
	return nil
}

// trainingRows are the rows of files and of the demonstrations that people wrote.
func (a *app) trainingRows(ctx context.Context, cfg nextConfig) train.Rows {
	return func(f func(train.Row, bool) error) error {
		files := cfg.Input
		files.Data = nil
		n := 0.0
		for _, name := range cfg.Data {
			project, ok := strings.CutPrefix(name, "demonstrations:")
			if !ok {
				files.Data = append(files.Data, name)
				continue
			}
			p, err := a.labeling.ProjectByName(ctx, project)
			if err != nil {
				return fmt.Errorf("project %s: %w", project, err)
			}
			list, err := a.labeling.Demonstrations(ctx, p.ID, time.Time{}, maxDemonstrations)
			if err != nil {
				return err
			}
			for _, d := range list {
				row := train.Row{Kind: train.KindMessages}
				for _, m := range d.Messages {
					row.Messages = append(row.Messages, token.Message{Role: m.Role, Content: m.Content})
				}
				row.Messages = append(row.Messages, token.Message{Role: "assistant", Content: d.Response})
				n++
				if err := f(row, len(cfg.Valid) == 0 && int(n*cfg.ValidShare) > int((n-1)*cfg.ValidShare)); err != nil {
					return err
				}
			}
		}
		if len(files.Data) == 0 && n > 0 {
			return files.HeldOut(f)
		}
		return files.Rows(f)
	}
}

// watchTraining follows a run until it ends.
func (a *app) watchTraining(ctx context.Context, std streams, id string, asJSON bool) error {
	show := newProgress(std.err)
	defer show.end()
	seen := 0
	latest := run.Metrics{}
	for {
		r, err := a.runs.Get(ctx, id)
		if err != nil {
			return err
		}
		points, err := a.runs.Metrics(ctx, id, seen)
		if err != nil {
			return err
		}
		for _, p := range points {
			seen = p.Step
			for name, x := range p.Metrics {
				latest[name] = x
			}
		}
		show.show(r.Kind, r.LiveStep, r.Total, "steps"+brief(latest))
		switch r.State {
		case run.Done:
			show.end()
			return a.tellTraining(ctx, std, r, asJSON)
		case run.Failed:
			return fmt.Errorf("run %s failed: %s", r.ID, r.Error)
		case run.Cancelled:
			return fmt.Errorf("run %s was cancelled", r.ID)
		}
		select {
		case <-ctx.Done():
			show.end()
			fmt.Fprintf(std.err, "the run goes on without being watched: %s\n", id)
			return nil
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// tellTraining lists the versions that a run has made.
func (a *app) tellTraining(ctx context.Context, std streams, r run.Run, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(std.out).Encode(r)
	}
	points, err := a.runs.Metrics(ctx, r.ID, 0)
	if err != nil {
		return err
	}
	losses := make([]float64, len(points))
	for i, p := range points {
		losses[i] = p.Metrics["loss"]
	}
	if n := len(losses); n > 1 {
		fmt.Fprintf(std.out, "loss %.3f %s %.3f\n", losses[0], curve(losses, 60), losses[n-1])
	}
	list, err := a.registry.List(ctx, "", 1000)
	if err != nil {
		return err
	}
	for _, v := range list {
		if v.RunID != nil && *v.RunID == r.ID {
			fmt.Fprintf(std.out, "version %s (%s) %s%s\n", v.Name, v.Kind, v.ID, brief(v.Metrics))
		}
	}
	return nil
}
