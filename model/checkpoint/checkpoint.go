package checkpoint

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// Card is what rankloop adds to a Hugging Face folder: the file rankloop.json.
type Card struct {
	Kind       string             `json:"kind,omitempty"`        // base, sft, reward, policy or value
	Parents    []string           `json:"parents,omitempty"`     // what it was made from
	Snapshot   string             `json:"snapshot,omitempty"`    // of the data it was trained on
	Metrics    map[string]float64 `json:"metrics,omitempty"`     // of its training and evaluation; finite
	RewardMean float64            `json:"reward_mean,omitempty"` // of a reward model: score' = (score-RewardMean)/RewardStd
	RewardStd  float64            `json:"reward_std,omitempty"`  // 0 = not normalised
	Ensemble   *Ensemble          `json:"ensemble,omitempty"`    // of a reward model with several members; nil = one model
	Template   string             `json:"template,omitempty"`    // chat template it was tuned with, see token.Chat; "" = plain
	Notes      string             `json:"notes,omitempty"`       // free text for people
}

// Checkpoint is a model folder in memory.
type Checkpoint struct {
	Model     *model.Transformer
	Tokenizer token.Tokenizer // nil where the folder has none: ids only
	Card      Card            // zero where the folder has none

	// Members are the further members of an ensemble, of Model's shape: Card.Ensemble
	// has a norm for each, nil where there is none.
	Members []*model.Transformer

	// Generation is generation_config.json, nil where the folder has none.
	Generation Generation
}

// Names of the files of a folder, besides those of the weights and the tokenizer.
const (
	configName     = "config.json"
	generationName = "generation_config.json"
	cardName       = "rankloop.json"
)

// Load reads a Hugging Face model folder: config.json, the weights, and where they
// are there the tokenizer, generation_config.json and rankloop.json. It gives an
// error that is fs.ErrNotExist where config.json or the weights are not there, one
// that wraps [ErrCorrupt] for broken content, a [TensorsError] for weights of another
// model, an [InvalidError] (also of packages model and token) for a field that cannot
// be carried out.
//
// Float32 weights may be pages of the file, see "Mapped weights" in the package
// comment: changing them changes the model alone, but a slice of them must not
// outlive the model.
func Load(dir string) (*Checkpoint, error) { return loadDir(dir, false) }

// LoadBF16 is [Load] for a model whose matrices are kept as BF16 (model.Param.Half),
// half the memory: as they stand in a BF16 file, rounded to nearest even from others.
// Vectors are float32 all the same.
func LoadBF16(dir string) (*Checkpoint, error) { return loadDir(dir, true) }

func loadDir(dir string, half bool) (*Checkpoint, error) {
	c, err := load(os.DirFS(dir), half)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", dir, err)
	}
	return c, nil
}

// LoadFS is [Load] for a folder of a file system such as embed.FS.
func LoadFS(fsys fs.FS, dir string) (*Checkpoint, error) {
	sub, err := fs.Sub(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", dir, err)
	}
	c, err := load(sub, false)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", dir, err)
	}
	return c, nil
}

func load(fsys fs.FS, half bool) (*Checkpoint, error) {
	list, err := readSums(fsys)
	if err != nil {
		return nil, err
	}
	files, err := openWeights(fsys, list != nil)
	if err != nil {
		return nil, err
	}
	defer closeAll(files)
	isWeights := func(name string) bool {
		if isMember(name) {
			return true
		}
		for _, f := range files {
			if f.name == name {
				return true
			}
		}
		return false
	}
	if err := list.checkFiles(fsys, isWeights); err != nil {
		return nil, err
	}
	cfg, generation, err := loadConfig(fsys)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Generation: generation}
	if c.Card, err = loadCard(fsys); err != nil {
		return nil, err
	}
	c.Tokenizer, err = token.LoadFS(fsys)
	switch {
	case errors.Is(err, token.ErrNotFound):
		c.Tokenizer = nil
	case err != nil:
		return nil, err
	case c.Tokenizer.Vocab() > cfg.Vocab:
		return nil, invalid("tokenizer", "it has %d ids, the model %d", c.Tokenizer.Vocab(), cfg.Vocab)
	}
	if c.Model, err = readModel(cfg, files, half); err != nil {
		return nil, err
	}
	if c.Members, err = readMembers(cfg, c.Card.Ensemble, fsys, list != nil, half); err != nil {
		return nil, err
	}
	for _, f := range files {
		if list == nil {
			break
		}
		if err := list.check(f.name, hex.EncodeToString(f.hash.Sum(nil))); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func loadCard(fsys fs.FS) (Card, error) {
	var card Card
	data, err := readSmall(fsys, cardName)
	if errors.Is(err, fs.ErrNotExist) {
		return card, nil
	}
	if err != nil {
		return card, err
	}
	if err := json.Unmarshal(data, &card); err != nil {
		return card, invalid(cardName, "%v", err)
	}
	return card, card.check()
}

// check refuses a normalisation that cannot be applied; JSON knows no NaN, so a card
// read from a file is finite.
func (c Card) check() error {
	bad := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
	if bad(c.RewardMean) || bad(c.RewardStd) || c.RewardStd < 0 {
		return invalid(cardName+": reward_mean, reward_std", "%g, %g is not a normalisation", c.RewardMean, c.RewardStd)
	}
	if err := c.Ensemble.check(); err != nil {
		return err
	}
	for name, v := range c.Metrics {
		if bad(v) {
			return invalid(cardName+": metrics", "%s is %g", name, v)
		}
	}
	return nil
}
