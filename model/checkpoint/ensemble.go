package checkpoint

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"math"
	"strings"

	"github.com/rankloop/rankloop/model"
)

// maxMembers bounds the further members of an ensemble.
const maxMembers = 63

// Ensemble says how the members of a reward model stand together. The folder's model.safetensors is the first member, with
// the card's RewardMean and RewardStd, so that whoever knows no ensembles reads a reward model; member-00002.safetensors and
// so on are the others. Each member's score is normalised by itself, the members' scores are combined, and the combined score
// is normalised: (combined-Mean)/Std.
type Ensemble struct {
	Combine string  `json:"combine"`          // what is made of the members' scores, see package reward
	Lambda  float64 `json:"lambda,omitempty"` // weight of the variance, where Combine has one
	Mean    float64 `json:"mean"`             // of the combined score
	Std     float64 `json:"std"`              // of the combined score, positive
	Members []Norm  `json:"members"`          // of the members after the first
}

// Norm is a normalisation: score' = (score-Mean)/Std.
type Norm struct {
	Mean float64 `json:"mean"`
	Std  float64 `json:"std"`
}

func (n Norm) sound() bool {
	return !math.IsNaN(n.Mean) && !math.IsInf(n.Mean, 0) && n.Std > 0 && !math.IsInf(n.Std, 0)
}

func (e *Ensemble) check() error {
	if e == nil {
		return nil
	}
	if !(e.Lambda >= 0) || math.IsInf(e.Lambda, 0) {
		return invalid(cardName+": ensemble.lambda", "%g", e.Lambda)
	}
	if n := len(e.Members); n == 0 || n > maxMembers {
		return invalid(cardName+": ensemble.members", "%d beside the first; 1 to %d are possible", n, maxMembers)
	}
	for _, n := range append([]Norm{{e.Mean, e.Std}}, e.Members...) {
		if !n.sound() {
			return invalid(cardName+": ensemble", "%g, %g is not a normalisation", n.Mean, n.Std)
		}
	}
	return nil
}

// memberName is the file of Members[i].
func memberName(i int) string { return fmt.Sprintf("member-%05d.safetensors", i+2) }

// isMember says whether a file is one of an ensemble's further members, which are checked when they are read.
func isMember(name string) bool {
	return strings.HasPrefix(name, "member-") && strings.HasSuffix(name, ".safetensors")
}

// memberWeights are the tensors of the further members as they go into files.
func (c *Checkpoint) memberWeights(dtype string) ([][]Tensor, error) {
	want := 0
	if c.Card.Ensemble != nil {
		want = len(c.Card.Ensemble.Members)
	}
	if len(c.Members) != want {
		return nil, invalid("members", "%d models and %d norms", len(c.Members), want)
	}
	var out [][]Tensor
	for i, m := range c.Members {
		if m.Config() != c.Model.Config() || m.ScalarHead() != c.Model.ScalarHead() {
			return nil, invalid("members", "member %d has another shape than the first", i+2)
		}
		tensors, err := weights(m, dtype)
		if err != nil {
			return nil, fmt.Errorf("member %d: %w", i+2, err)
		}
		out = append(out, tensors)
	}
	return out, nil
}

// readMembers reads the further members of an ensemble, none where e is nil.
func readMembers(cfg model.Config, e *Ensemble, fsys fs.FS, published, half bool) ([]*model.Transformer, error) {
	if e == nil {
		return nil, nil
	}
	var out []*model.Transformer
	for i := range e.Members {
		m, err := readMember(cfg, fsys, memberName(i), published, half)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func readMember(cfg model.Config, fsys fs.FS, name string, published, half bool) (*model.Transformer, error) {
	list, err := readSums(fsys)
	if err != nil {
		return nil, err
	}
	f, err := openWeight(fsys, name, published)
	if err != nil {
		return nil, err
	}
	files := []*weightFile{f}
	defer closeAll(files)
	m, err := readModel(cfg, files, half)
	if err != nil {
		return nil, err
	}
	if list == nil {
		return m, nil
	}
	return m, list.check(name, hex.EncodeToString(f.hash.Sum(nil)))
}
