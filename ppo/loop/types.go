package loop

import (
	"errors"
	"fmt"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/train"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// Sentinels of this room.
var (
	ErrNotFound = errors.New("loop: not found")
	ErrConflict = errors.New("loop: conflict")
)

// InvalidError names a field of a round or a schedule that cannot be used, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return fmt.Sprintf("%s: %s", e.Field, e.Reason) }

// Stage is where a round stands. A round walks through those of its Config.Path; it leaves that path
// only to StageFailed or StageCancelled, and may come back.
type Stage string

// The stages of a round.
const (
	StageSFT       Stage = "sft"      // the supervised policy learns people's demonstrations
	StageSample    Stage = "sample"   // the serving policy answers each prompt K times
	StageRank      Stage = "rank"     // labelers rank until the target is met
	StageReward    Stage = "reward"   // a reward model learns the rankings
	StagePPO       Stage = "ppo"      // the policy is moved towards the reward
	StageEvaluate  Stage = "evaluate" // the new policy meets the supervised and the serving one
	StageDecide    Stage = "decide"   // a person promotes or declines; skipped where the rule decides
	StageDone      Stage = "done"
	StageFailed    Stage = "failed"
	StageCancelled Stage = "cancelled"
)

// Stages are all that a round may go through, in order; one that it goes through is in its Config.Path.
var Stages = []Stage{StageSFT, StageSample, StageRank, StageReward, StagePPO, StageEvaluate, StageDecide, StageDone}

// Ended says whether the stage is a last one.
func (s Stage) Ended() bool { return s == StageDone || s == StageFailed || s == StageCancelled }

// Promotion rules.
const (
	PromoteIfBetter = "if_better" // when the evaluation's gate holds
	PromoteByHand   = "manual"    // a person decides
	PromoteByCanary = "canary"    // a canary begins when the gate holds, and decides
)

// Config is what a round is started with; stored as JSON with the round.
type Config struct {
	// Parts are what the round goes through, of Parts and in their order; none: all but StageSFT.
	Parts []Stage `json:"parts,omitempty"`
	// Base is the model version that it starts from; empty: the policy that serves, and for StageSFT the supervised one behind it.
	Base string `json:"base,omitempty"`
	// Snapshot is the rankings that the reward model learns where none are collected; empty: all that are there.
	Snapshot string `json:"snapshot,omitempty"`
	// RewardModel is the version that PPO is trained by where none is trained; empty: the newest.
	RewardModel string `json:"reward_model,omitempty"`

	K            int     `json:"k"`             // answers per prompt, 4 to 9
	Prompts      int     `json:"prompts"`       // prompts to answer and rank
	Overlap      int     `json:"overlap"`       // labelers per task for the shared part
	OverlapShare float64 `json:"overlap_share"` // share of tasks that several labelers rank, 0 to 1
	EvalPrompts  int     `json:"eval_prompts"`  // held-out prompts of the evaluation
	EvalSamples  int     `json:"eval_samples"`  // answers per held-out prompt and policy
	MaxTokens    int     `json:"max_tokens"`    // response tokens, EOS included
	MaxKL        float64 `json:"max_kl"`        // gate: nats per response from the SFT policy
	Promotion    string  `json:"promotion"`     // PromoteIfBetter, PromoteByHand or PromoteByCanary

	Canary registry.CanaryConfig `json:"canary,omitzero"` // of PromoteByCanary

	// RewardAccuracyBelow is a gate: what was trained by a reward model whose accuracy on the held-out rankings is below it, with its
	// whole 95% interval, is not promoted, and more rankings are asked for. 0 = no gate.
	RewardAccuracyBelow float64 `json:"reward_accuracy_below,omitempty"`

	Gates GateConfig `json:"gates,omitzero"` // what holds the round between two stages, until a person says otherwise

	Relabel RelabelConfig `json:"relabel,omitzero"` // what happens where the reward model no longer judges the policy it made

	// Alarms are the limits of the rules that stop the PPO run, by the rules' names; what is left out has the rule's own, null is off.
	Alarms Limits `json:"alarms,omitempty"`

	// Retrain leaves out sampling and ranking: the round learns from the rankings that are there, and starts from the supervised policy,
	// so that nothing stays of what was learned before.
	Retrain bool `json:"retrain,omitempty"`

	// Without are the labelers, customers and rankings that the reward model does not learn from.
	Without []labeling.Subject `json:"without,omitempty"`

	Seed   uint64        `json:"seed"`         // of sampling, training and evaluation
	SFT    train.Config  `json:"sft,omitzero"` // the supervised policy's training
	Reward reward.Config `json:"reward"`       // the reward model's training
	PPO    ppo.Config    `json:"ppo"`          // the policy's training
}

// Round is one turn of the loop.
type Round struct {
	ID        string
	Number    int
	ProjectID string
	Stage     Stage
	Config    Config
	Actor     string // who or what started it
	Error     string // why it failed; empty otherwise
	BrokeAt   Stage  // the stage in which it failed or was cancelled; empty otherwise
	Progress  Progress

	InitVersionID   string // the policy it starts from, serving when the round began
	SFTVersionID    string // the reference of the KL penalty
	SnapshotID      string // the rankings the reward model learned
	SFTRunID        string
	RewardRunID     string
	PPORunID        string
	EvaluateRunID   string
	RewardVersionID string
	PolicyVersionID string
	Promoted        *bool // nil until decided, by its canary where there is one

	Held      string     // the gate that holds it between two stages; empty while none does
	Finding   string     // what that gate has found
	Overrides []Override // people's decisions against a gate, oldest first

	Probe     Probe  // whether the reward model judges the promoted policy's answers
	ProbeID   string // batch of the tasks whose rankings tell; empty where there is no probe
	RelabelID string // batch of the tasks that were ordered because it does not

	Report    *Report // nil until evaluated
	StartedAt time.Time
	StageAt   time.Time  // when the present stage began
	PausedAt  *time.Time // nil while it goes on
	UpdatedAt time.Time
	EndedAt   *time.Time
}

// Progress counts the units of the present stage: prompts answered, rankings given, optimizer steps, prompts evaluated.
type Progress struct {
	Done  int    `json:"done"`
	Total int    `json:"total"`
	Unit  string `json:"unit"`
}

// Estimate is a figure with its 95% confidence interval and the number of observations behind it.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	N     int     `json:"n"`
}

// Report is the table at the end of a round.
type Report struct {
	Rankings       int       `json:"rankings"`        // rankings the reward model learned from, all rounds
	RoundRankings  int       `json:"round_rankings"`  // of them, of this round
	Agreement      Estimate  `json:"agreement"`       // share of pairs two labelers order alike
	RewardAccuracy Estimate  `json:"reward_accuracy"` // on held-out prompts' rankings
	RewardCeiling  float64   `json:"reward_ceiling"`  // accuracy a perfect judge would reach on such labels; 0 unknown
	Judge          string    `json:"judge"`           // what the scores below are: "gold" or "reward model"
	ScoreSFT       Estimate  `json:"score_sft"`       // mean judge score of the SFT policy
	ScoreBefore    Estimate  `json:"score_before"`    // of the policy that was serving
	ScoreAfter     Estimate  `json:"score_after"`     // of the new policy
	WinSFT         Estimate  `json:"win_sft"`         // share of held-out prompts won against SFT, ties half
	WinServing     Estimate  `json:"win_serving"`     // against the policy that was serving
	KL             Estimate  `json:"kl"`              // nats per response from the SFT policy
	EOSRate        float64   `json:"eos_rate"`        // answers that ended by themselves
	Length         float64   `json:"length"`          // mean response tokens
	TokensPerS     float64   `json:"tokens_per_s"`    // tokens through training and sampling per second of those stages
	Seconds        float64   `json:"seconds"`         // wall time of the round
	Promoted       bool      `json:"promoted"`
	Reason         string    `json:"reason"` // why promoted or not
	Examples       []Example `json:"examples"`

	// OnPolicy is the reward model's accuracy on the new policy's own answers, ranked after the round; nil until they are.
	OnPolicy *Estimate `json:"on_policy,omitempty"`
}

// Example shows one held-out prompt with the answers of two policies.
type Example struct {
	PromptID   string  `json:"prompt_id,omitempty"` // with which the example is erased
	Prompt     string  `json:"prompt"`
	SFT        string  `json:"sft"`
	After      string  `json:"after"`
	ScoreSFT   float64 `json:"score_sft"`
	ScoreAfter float64 `json:"score_after"`
}

// Schedule starts rounds by itself.
type Schedule struct {
	ID        string
	ProjectID string
	Cron      string // five fields; empty: as soon as the rankings are there
	TimeZone  string // of Cron, by the names of the IANA database; empty is UTC
	Rankings  int    // a round starts only with so many new rankings since the last one began to learn; 0: always
	// AccuracyBelow starts a round only while the reward model of the newest one is known to be right in less of the pairs of its own
	// policy's answers, which the probe of RelabelConfig measures; 0: always.
	AccuracyBelow float64
	Enabled       bool
	Config        Config
	LastAt        *time.Time
	NextAt        time.Time
	CreatedBy     string
}

// Alarm is something a person should look at: a gate that failed, a run that stopped, the Andon cord.
type Alarm struct {
	ID      string
	RoundID string
	Kind    string
	Message string
	At      time.Time
	Actor   string

	// Of an alarm that stopped a run; Rule is "" for all others.
	Rule       string
	RunID      string
	Metric     string
	Value      float64 // may be NaN or infinite
	Threshold  float64 // that it crossed
	Step       int
	AnsweredAt *time.Time // when a person let the run go on
	AnsweredBy string
	Reason     string   // theirs
	NewLimit   *float64 // of the rule for the rest of the round; nil: it is off
}

// Open says whether the alarm keeps a run from going on.
func (a Alarm) Open() bool { return a.Rule != "" && a.AnsweredAt == nil }
