package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/rankloop/rankloop/model/checkpoint"
)

type modelPullCmd struct {
	Name     string `arg:"" help:"Name of the model, such as openai-community/gpt2."`
	To       string `help:"Folder to write; by default the last part of the name, here." type:"path" placeholder:"DIR"`
	Endpoint string `help:"Where models are: Hugging Face's hub or one that answers as it does." env:"HF_ENDPOINT" default:"https://huggingface.co"`
	Revision string `help:"Branch, tag or commit." default:"main"`
	JSON     bool   `name:"json" help:"What was pulled, as JSON."`
}

func (modelPullCmd) Help() string {
	return `Only config, safetensors and tokenizer are fetched, never pickled weights. A pull that was cut off goes on where it was when
started again; what has arrived waits in .pull-NAME beside the folder. Lengths and digests are compared with the hub's list, and
the folder appears once the model has been loaded and checked. A token for private and gated models is read from the environment
variable HF_TOKEN, and goes to the endpoint alone.

Examples:
  rankloop model pull openai-community/gpt2
  rankloop model pull Qwen/Qwen2-0.5B --to ./qwen2 --revision main
  HF_TOKEN=hf_... rankloop model pull meta-llama/Llama-3.2-1B`
}

func (c modelPullCmd) Run(ctx context.Context, std streams) error {
	if c.To == "" {
		c.To = path.Base(c.Name)
	}
	client, err := outboundClient(ctx, c.Endpoint)
	if err != nil {
		return err
	}
	bar := newProgress(std.err)
	hub := checkpoint.Hub{Endpoint: c.Endpoint, Token: os.Getenv("HF_TOKEN"), Client: client, Progress: func(done, total int64) {
		bar.show("pulling "+path.Base(c.Name), int((done+1<<20-1)>>20), int((total+1<<20-1)>>20), "MiB")
	}, Retry: func(err error, wait time.Duration) { bar.say("%v; again in %s", err, wait) }}
	got, err := hub.Pull(ctx, c.Name, c.Revision, c.To)
	bar.end()
	var invalid *checkpoint.InvalidError
	switch {
	case errors.As(err, &invalid) && (invalid.Field == "name" || invalid.Field == "revision" || invalid.Field == "endpoint"), errors.Is(err, fs.ErrExist):
		return usageError{err}
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w; the same command goes on where it was", err)
	case err != nil:
		return err
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(map[string]any{"folder": c.To, "files": got.Files, "bytes": got.Bytes, "digest": got.Digest})
	}
	_, err = fmt.Fprintf(std.out, "%s: %d files, %.1f MB, digest %s\n", c.To, len(got.Files), float64(got.Bytes)/1e6, got.Digest)
	return err
}
