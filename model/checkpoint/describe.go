package checkpoint

import (
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// Description is what a folder says of its model, read from everything but the weights
// themselves.
type Description struct {
	Config      model.Config
	Head        model.Head // the scalar head, HeadLM where there is none
	Card        Card       // zero where the folder has none
	Parameters  int64      // the scalar head's included
	DTypes      []string   // of the tensors, sorted: "F32", "F16", "BF16"
	WeightBytes int64      // of the tensors in the files
	Digest      string     // of the folder, as [Digest] gives it and SHA256SUMS has it; empty where there is no such list
}

// Describe reads a model folder but for the content of its weights, of which it looks
// at the headers: a folder of any size takes milliseconds. Names and shapes of the
// tensors are compared with config.json, and all other files with SHA256SUMS where
// there is one; errors are those of [Load].
func Describe(dir string) (Description, error) {
	d, err := describe(os.DirFS(dir))
	if err != nil {
		return Description{}, fmt.Errorf("describe %s: %w", dir, err)
	}
	return d, nil
}

// DescribeFS is [Describe] for a folder of a file system such as embed.FS.
func DescribeFS(fsys fs.FS, dir string) (Description, error) {
	sub, err := fs.Sub(fsys, dir)
	if err != nil {
		return Description{}, fmt.Errorf("describe %s: %w", dir, err)
	}
	d, err := describe(sub)
	if err != nil {
		return Description{}, fmt.Errorf("describe %s: %w", dir, err)
	}
	return d, nil
}

func describe(fsys fs.FS) (d Description, err error) {
	list, err := readSums(fsys)
	if err != nil {
		return d, err
	}
	files, err := openWeights(fsys, false)
	if err != nil {
		return d, err
	}
	defer closeAll(files)
	isWeights := func(name string) bool {
		return isMember(name) || slices.ContainsFunc(files, func(f *weightFile) bool { return f.name == name })
	}
	if err := list.checkFiles(fsys, isWeights); err != nil {
		return d, err
	}
	cfg, _, err := loadConfig(fsys)
	if err != nil {
		return d, err
	}
	m, params, err := emptyModel(cfg, files)
	if err != nil {
		return d, err
	}
	d.Config, d.Head = m.Config(), m.ScalarHead()
	for _, p := range params {
		n := int64(1)
		for _, dim := range p.Shape {
			n *= int64(dim)
		}
		d.Parameters += n
	}
	for _, f := range files {
		for _, e := range f.entries {
			d.WeightBytes += e.end - e.begin
			if params[canonical(e.name)] != nil {
				d.DTypes = append(d.DTypes, e.dtype)
			}
		}
	}
	slices.Sort(d.DTypes)
	d.DTypes = slices.Compact(d.DTypes)
	if list != nil {
		d.Digest = list.digest()
	}
	d.Card, err = loadCard(fsys)
	return d, err
}
