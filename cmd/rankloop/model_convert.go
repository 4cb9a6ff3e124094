package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/rankloop/rankloop/model/checkpoint"
)

type modelConvertCmd struct {
	formatFlags
	In        string `arg:"" help:"A checkpoint of llama2.c (.bin), or a model folder."`
	Out       string `arg:"" help:"Folder to write; it must not exist." type:"path"`
	Tokenizer string `help:"Tokenizer of the .bin: a tokenizer.model, or llama2.c's tokenizer.bin." type:"existingfile" placeholder:"FILE"`
}

func (modelConvertCmd) Help() string {
	return `llama2.c's legacy format and its version 1 are read (float32). Without --tokenizer the folder has none: it scores and
generates by ids.

Examples:
  rankloop model convert stories15M.bin ./stories15m --tokenizer tokenizer.bin
  rankloop model convert ./gpt2-xl ./gpt2-xl-bf16 --dtype BF16 --shard-size 2GB`
}

func (c modelConvertCmd) Run(std streams) error {
	if err := mustNotExist(c.Out); err != nil {
		return err
	}
	st, err := os.Stat(c.In)
	if err != nil {
		return err
	}
	var cp *checkpoint.Checkpoint
	switch {
	case !st.IsDir():
		cp, err = checkpoint.LoadLlama2C(c.In, c.Tokenizer)
	case c.Tokenizer != "":
		return usageError{errors.New("--tokenizer is for a .bin: a folder has its own")}
	default:
		cp, err = checkpoint.Load(c.In)
	}
	if err != nil {
		return err
	}
	if err := c.export(std, cp, c.Out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s: %s, %d parameters\n", c.Out, cp.Model.Config().Family, cp.Model.NumParams())
	return err
}
