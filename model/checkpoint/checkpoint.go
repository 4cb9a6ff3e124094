package checkpoint

import (
	"context"
	"errors"
	"io/fs"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// Card is what rankloop adds to a Hugging Face folder: the file rankloop.json.
type Card struct {
	Kind       string             `json:"kind,omitempty"`        // base, sft, reward, policy or value
	Parents    []string           `json:"parents,omitempty"`     // digests of the checkpoints it was made from
	Snapshot   string             `json:"snapshot,omitempty"`    // digest of the data snapshot it was trained on
	Metrics    map[string]float64 `json:"metrics,omitempty"`     // of its training and evaluation; finite
	RewardMean float64            `json:"reward_mean,omitempty"` // of a reward model: score' = (score-RewardMean)/RewardStd
	RewardStd  float64            `json:"reward_std,omitempty"`  // 0 = not normalised
	Notes      string             `json:"notes,omitempty"`       // free text for people
}

// Checkpoint is a model folder in memory.
type Checkpoint struct {
	Model     *model.Transformer
	Tokenizer token.Tokenizer // nil where the folder has none: ids only
	Card      Card            // zero where the folder has none
}

// Load reads a Hugging Face model folder.
func Load(dir string) (*Checkpoint, error) { return nil, errors.New("checkpoint: in the making") }

// LoadFS is [Load] for a folder of a file system such as embed.FS.
func LoadFS(fsys fs.FS, dir string) (*Checkpoint, error) {
	return nil, errors.New("checkpoint: in the making")
}

// Save writes the folder; dtype of the weights is "F32", "F16" or "BF16".
func (c *Checkpoint) Save(dir string, dtype string) error {
	return errors.New("checkpoint: in the making")
}

// Digest is the SHA-256 over the files of a folder, 64 hex digits.
func Digest(dir string) (string, error) { return "", errors.New("checkpoint: in the making") }

// Blobs stores folders under their digest.
type Blobs interface {
	// Put copies dir into the store and returns its digest; a second Put of the same content changes nothing.
	Put(ctx context.Context, dir string) (digest string, err error)
	// Open returns a folder to read, after checking that it still has that digest.
	Open(ctx context.Context, digest string) (dir string, err error)
	Delete(ctx context.Context, digest string) error
	List(ctx context.Context) ([]string, error)
}
