package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rankloop/rankloop/model/checkpoint"
)

// formatFlags say how a folder keeps its weights.
type formatFlags struct {
	DType     string   `name:"dtype" help:"F32, F16 or BF16." enum:"F32,F16,BF16" default:"F32"`
	ShardSize sizeFlag `name:"shard-size" help:"Largest file of weights, such as 5GB or 500MiB: more than that becomes numbered files with an index." placeholder:"SIZE"`
}

// export writes a folder and shows how far it is.
func (f formatFlags) export(std streams, cp *checkpoint.Checkpoint, dir string) error {
	bar := newProgress(std.err)
	defer bar.end()
	return cp.Export(dir, checkpoint.Format{DType: f.DType, MaxShard: int64(f.ShardSize), Progress: func(done, total int64) {
		bar.show("writing "+filepath.Base(dir), int((done+1<<20-1)>>20), int((total+1<<20-1)>>20), "MiB")
	}})
}

// sizeFlag is a number of bytes, written with or without a unit: 1000000, 5GB, 500MiB.
type sizeFlag int64

// UnmarshalText reads the size.
func (b *sizeFlag) UnmarshalText(text []byte) error {
	s := strings.ToUpper(strings.TrimSpace(string(text)))
	number := strings.TrimRight(s, "KMGTIB ")
	scale := int64(1)
	if unit := strings.TrimSuffix(strings.TrimSpace(s[len(number):]), "B"); unit != "" {
		base := int64(1000)
		if len(unit) == 2 && unit[1] == 'I' {
			base = 1024
		}
		power := strings.IndexByte("KMGT", unit[0]) + 1
		if power == 0 || len(unit) > 1 && base == 1000 {
			return fmt.Errorf("%q is not a size such as 5GB, 500MiB or a number of bytes", text)
		}
		for range power {
			scale *= base
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || n > (1<<62)/scale {
		return fmt.Errorf("%q is not a size such as 5GB, 500MiB or a number of bytes", text)
	}
	*b = sizeFlag(n * scale)
	return nil
}

type modelExportCmd struct {
	serverFlags
	formatFlags
	Model   string `arg:"" help:"Name or id of a version, a model folder, or base or sft for the starter model."`
	To      string `arg:"" help:"Folder to write; it must not exist." type:"path"`
	Adapter string `help:"Folder of a LoRA adapter in PEFT's layout, to be merged into the weights." type:"existingdir" placeholder:"DIR"`
}

func (modelExportCmd) Help() string {
	return `The folder loads in Hugging Face transformers; merged, an adapter needs no PEFT.

Examples:
  rankloop model export policy-3 ./policy-3 --dtype BF16
  rankloop model export ./gpt2-xl ./gpt2-xl-tuned --adapter ./run/adapter --shard-size 2GB`
}

func (c modelExportCmd) Run(ctx context.Context, std streams) error {
	if err := mustNotExist(c.To); err != nil {
		return err
	}
	if st, err := os.Stat(c.Model); c.Model == "base" || c.Model == "sft" || err == nil && st.IsDir() {
		cp, err := loadModel(c.Model)
		if err != nil {
			return err
		}
		return c.write(std, cp)
	}
	return c.with(ctx, std, func(a *app) error {
		v, err := a.version(ctx, c.Model)
		if err != nil {
			return err
		}
		dir, err := a.blobs.Open(ctx, v.Digest)
		if err != nil {
			return err
		}
		cp, err := checkpoint.Load(dir)
		if err != nil {
			return err
		}
		return c.write(std, cp)
	})
}

func (c modelExportCmd) write(std streams, cp *checkpoint.Checkpoint) error {
	if c.Adapter != "" {
		if len(cp.Members) > 0 {
			return usageError{fmt.Errorf("--adapter: %s is an ensemble of %d models, an adapter belongs to one", c.Model, len(cp.Members)+1)}
		}
		cp = &checkpoint.Checkpoint{Model: cp.Model.Clone(), Tokenizer: cp.Tokenizer, Card: cp.Card, Generation: cp.Generation} // the starter model is shared
		if err := checkpoint.LoadAdapter(cp.Model, c.Adapter); err != nil {
			return err
		}
		cp.Model.MergeLoRA()
	}
	return c.export(std, cp, c.To)
}

// mustNotExist refuses to write where something is already.
func mustNotExist(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return usageError{fmt.Errorf("%s exists already", path)}
	}
	return nil
}
