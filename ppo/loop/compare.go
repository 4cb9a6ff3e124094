package loop

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
)

// CompareStage is where a comparison stands.
type CompareStage string

// The stages of a comparison.
const (
	CompareSample CompareStage = "sample" // both versions answer
	CompareJudge  CompareStage = "judge"  // people judge; nobody is shown which answer is whose
	CompareClosed CompareStage = "closed" // the result stands and the names are shown
	CompareFailed CompareStage = "failed"
)

// Who judges a comparison.
const (
	JudgesLabelers = labeling.CompareLabelers // labelers find it among their projects
	JudgesRoom     = labeling.CompareRoom     // whoever may label and is given its address
	JudgesNobody   = "nobody"                 // the reward model, lengths and KL alone
)

// Limits of a comparison.
const (
	maxComparePrompts = 2000
	maxCompareOverlap = 20
	maxListed         = 1 << 20 // bytes of a list of prompts
)

// CompareConfig is what a comparison is started with; stored as JSON with it.
type CompareConfig struct {
	Project     string  `json:"project,omitempty"`  // whose held-out prompts are asked; empty: those of a list
	Split       string  `json:"split,omitempty"`    // of these: test, or valid
	Category    string  `json:"category,omitempty"` // of these: a kind, a language or an origin; empty: all
	Prompts     int     `json:"prompts"`            // at most; of a list the first ones
	Overlap     int     `json:"overlap"`            // judges of each pair
	Judges      string  `json:"judges"`
	MaxTokens   int     `json:"max_tokens"`  // of an answer, its end included
	Temperature float64 `json:"temperature"` // 0 = greedy
	TopP        float64 `json:"top_p"`
	Seed        uint64  `json:"seed"` // of sampling, of the sides and of the bootstrap
}

// DefaultCompare is what a comparison is started with where nothing else is said.
func DefaultCompare() CompareConfig {
	return CompareConfig{Split: labeling.Test, Prompts: 100, Overlap: 1, Judges: JudgesLabelers, MaxTokens: DefaultConfig().MaxTokens, Temperature: 1, TopP: 1, Seed: 1}
}

func (c CompareConfig) check() error {
	bad := func(field, format string, args ...any) error {
		return &InvalidError{field, fmt.Sprintf(format, args...)}
	}
	switch {
	case c.Project != "" && c.Split != labeling.Test && c.Split != labeling.Valid:
		return bad("split", "%q; held out are test and valid", c.Split)
	case c.Prompts < 1 || c.Prompts > maxComparePrompts:
		return bad("n", "%d; 1 to %d prompts are possible", c.Prompts, maxComparePrompts)
	case c.Overlap < 1 || c.Overlap > maxCompareOverlap:
		return bad("overlap", "%d; 1 to %d judges of a pair are possible", c.Overlap, maxCompareOverlap)
	case c.Judges != JudgesLabelers && c.Judges != JudgesRoom && c.Judges != JudgesNobody:
		return bad("judges", "%q is none of labelers, room, nobody", c.Judges)
	case c.MaxTokens < 1 || c.MaxTokens > 4096:
		return bad("max_tokens", "%d; 1 to 4096 are possible", c.MaxTokens)
	case !(c.Temperature >= 0 && c.Temperature <= 2):
		return bad("temperature", "must be 0 to 2")
	case !(c.TopP > 0 && c.TopP <= 1):
		return bad("top_p", "must be above 0 and at most 1")
	case c.Seed > math.MaxInt64:
		return bad("seed", "must be below 2^63")
	}
	return nil
}

// NewComparison is what StartComparison takes. List is the prompts where Config.Project is empty, see ListedPrompts.
type NewComparison struct {
	A, B   string // version ids
	Config CompareConfig
	List   string
	Actor  string
}

// Comparison is two model versions that answer the same prompts, and what people say of the answers.
type Comparison struct {
	ID              string         `json:"id"`
	Number          int            `json:"number"`
	A               string         `json:"a"` // version ids
	B               string         `json:"b"`
	RewardVersionID string         `json:"reward_version,omitempty"` // judges too; empty: none
	ProjectID       string         `json:"project"`                  // where people judge
	Config          CompareConfig  `json:"config"`
	Stage           CompareStage   `json:"stage"`
	Error           string         `json:"error,omitempty"`
	Report          *CompareReport `json:"report,omitempty"` // of a closed one
	Actor           string         `json:"actor"`
	LookedAt        *time.Time     `json:"looked_at,omitempty"`      // when somebody first looked before the end
	SettledImport   string         `json:"settled_import,omitempty"` // by which its judgements became preference data; empty: they did not
	StartedAt       time.Time      `json:"started_at"`
	ClosedAt        *time.Time     `json:"closed_at,omitempty"`

	Pairs    int `json:"pairs"`    // prompts
	Answered int `json:"answered"` // of them, by both, or too long for one of them
	Need     int `json:"need"`     // judgements asked for
	Done     int `json:"done"`     // of them, in
}

// Judged says whether all judgements are in.
func (c Comparison) Judged() bool { return c.Stage == CompareJudge && c.Done >= c.Need }

// Name is what its project is called: it must not tell what is compared.
func (c Comparison) Name() string { return fmt.Sprintf("Comparison %d", c.Number) }

// compareInstructions are read by those who judge where the prompts are no project's.
const compareInstructions = `Read the conversation and both answers, and say which one is better, and how clearly. Call it a tie where you see no difference.

- Judge what is said, not how long it is.
- The sides are drawn anew for every pair: left and right mean nothing.`

// ListedPrompt is a line of a list of prompts.
type ListedPrompt struct {
	Messages []labeling.Message
	Category string
}

// ListedPrompts reads a list of prompts: one a line, as plain text or as JSON, {"prompt": "...", "category": "..."} or
// {"messages": [{"role": "user", "content": "..."}], "category": "..."}; the category may be left out. Empty lines are skipped.
func ListedPrompts(list string) ([]ListedPrompt, error) {
	if len(list) > maxListed {
		return nil, &InvalidError{"prompts", fmt.Sprintf("%d bytes; at most %d are possible", len(list), maxListed)}
	}
	var out []ListedPrompt
	for i, line := range strings.Split(list, "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if line == "" {
			continue
		}
		p := ListedPrompt{Messages: []labeling.Message{{Role: "user", Content: line}}}
		if line[0] == '{' {
			var err error
			if p, err = listedJSON(line); err != nil {
				return nil, &InvalidError{"prompts", fmt.Sprintf("line %d: %v", i+1, err)}
			}
		}
		if err := labeling.CheckText("category", p.Category); err != nil {
			return nil, &InvalidError{"prompts", fmt.Sprintf("line %d: %v", i+1, err)}
		}
		out = append(out, p)
	}
	return out, nil
}

func listedJSON(line string) (p ListedPrompt, err error) {
	var v struct {
		Prompt   string             `json:"prompt"`
		Messages []labeling.Message `json:"messages"`
		Category string             `json:"category"`
	}
	dec := json.NewDecoder(strings.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return p, errors.New("is no JSON object with prompt or messages, and category")
	}
	switch {
	case len(v.Messages) > 0 && v.Prompt != "":
		return p, errors.New("has both prompt and messages; one is wanted")
	case len(v.Category) > 100:
		return p, errors.New("category is longer than 100 bytes")
	case len(v.Messages) == 0 && strings.TrimSpace(v.Prompt) == "":
		return p, errors.New("has no prompt")
	case len(v.Messages) == 0:
		v.Messages = []labeling.Message{{Role: "user", Content: v.Prompt}}
	}
	return ListedPrompt{v.Messages, v.Category}, nil
}

// asked are the prompts of a new comparison with their categories, and the instructions of those who judge.
func (l *Loop) asked(ctx context.Context, n NewComparison) (list []labeling.NewPrompt, categories []string, instructions string, err error) {
	if n.Config.Project == "" {
		lines, err := ListedPrompts(n.List)
		if err != nil {
			return nil, nil, "", err
		}
		if len(lines) == 0 {
			return nil, nil, "", &InvalidError{"prompts", "there are none: type or upload some, one a line, or choose a project"}
		}
		for _, p := range lines[:min(len(lines), n.Config.Prompts)] {
			list, categories = append(list, labeling.NewPrompt{Messages: p.Messages, Origin: labeling.OriginImport}), append(categories, p.Category)
		}
		return list, categories, compareInstructions, nil
	}
	p, err := l.Labeling.Project(ctx, n.Config.Project)
	if err != nil {
		return nil, nil, "", err
	}
	found, err := l.Labeling.HeldOut(ctx, p.ID, n.Config.Split, n.Config.Category, n.Config.Prompts, n.Config.Seed)
	if err != nil {
		return nil, nil, "", err
	}
	if len(found) == 0 {
		return nil, nil, "", &InvalidError{"project", fmt.Sprintf("%s has no such held-out prompts (split %s); choose another split or category, or type a list", p.Name, n.Config.Split)}
	}
	for _, f := range found {
		list, categories = append(list, f.AsNew()), append(categories, f.Category())
	}
	return list, categories, cmp.Or(p.Instructions, compareInstructions), nil
}

// contender reads a version that is to answer.
func (l *Loop) contender(ctx context.Context, field, id string) (registry.Version, error) {
	v, err := l.Registry.Get(ctx, id)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return v, &InvalidError{field, "there is no such version"}
	case err != nil:
		return v, err
	case v.GoneAt != nil:
		return v, &InvalidError{field, fmt.Sprintf("the weights of %s were removed", v.Name)}
	case v.Kind != registry.Base && v.Kind != registry.SFT && v.Kind != registry.Policy:
		return v, &InvalidError{field, fmt.Sprintf("%s is a %s model, which answers nothing", v.Name, v.Kind)}
	}
	return v, nil
}

// WinOf is the win rate of one of the versions over the other, as people judged. ok is false while nobody has.
func (c Comparison) WinOf(versionID string) (win Estimate, ok bool) {
	if c.Report == nil || c.Report.Judged == 0 {
		return win, false
	}
	return c.Over(versionID, c.Report.Win), true
}

// Over takes a win rate of the report, which is of B over A, for that of one of the versions over the other.
func (c Comparison) Over(versionID string, win Estimate) Estimate {
	if versionID == c.A {
		win.Value, win.Low, win.High = 1-win.Value, 1-win.High, 1-win.Low
	}
	return win
}

// Other is the version that a version is compared with.
func (c Comparison) Other(versionID string) string {
	if versionID == c.A {
		return c.B
	}
	return c.A
}
