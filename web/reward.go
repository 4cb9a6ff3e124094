package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/reward"
	"github.com/rankloop/rankloop/web/account"
)

// Reward as a service: what a trainer elsewhere asks for the promoted reward model's judgement. The request and the answer are
// those of OpenRLHF's remote reward models (--remote_rm_url; openrlhf/utils/remote_rm_utils.py, with scores and extra_logs since
// its pull request 1038), which sends {"query", "prompts", "labels"} and reads {"rewards", "scores", "extra_logs"}. Beside "query",
// the two joined, it takes "completions", as a reward function of TRL has them, each a text or a list of messages.

const (
	rewardPath    = "/api/v1/reward"
	maxBodyReward = 16 << 20
	maxPairs      = 4096
	rewardTimeout = 170 * time.Second // OpenRLHF's client gives up after 180 s
	rewardQueue   = 16                // requests that wait while another is scored
)

// ErrNoReward says that no reward model is promoted.
var ErrNoReward = errors.New("web: no reward model is promoted")

// Rewards hands out the reward model that scores for outside trainers.
type Rewards interface {
	// Reward returns the promoted reward model; ErrNoReward where there is none. It goes on to work after another is promoted.
	Reward(ctx context.Context) (*ServedReward, error)
}

// ServedReward is a reward model ready to score. It does not change.
type ServedReward struct {
	VersionID string // the model version's id
	Name      string // its name
	Scorer    *reward.Scorer
	Tokenizer token.Tokenizer
	Template  token.ChatTemplate // of prompts that come as messages
}

// rewardRequest is what is scored: either query, or prompts with completions. labels and whatever else a trainer sends is not looked at.
type rewardRequest struct {
	Query       []string          `json:"query"`       // prompt and completion in one text
	Prompts     []json.RawMessage `json:"prompts"`     // texts as the model reads them, or lists of messages
	Completions []json.RawMessage `json:"completions"` // texts, or lists of one message
	Finished    []bool            `json:"finished"`    // whether each completion ended by itself; none: all did
	Model       string            `json:"model"`       // name or id of the version that is wanted; none: the promoted one
}

type rewardAnswer struct {
	Rewards   []float64            `json:"rewards"`    // normalised as the model's folder says
	Scores    []float64            `json:"scores"`     // 0 to 1: probability to be preferred to a reference answer
	ExtraLogs map[string][]float64 `json:"extra_logs"` // a value for each pair
	Model     string               `json:"model"`
	Version   string               `json:"model_version"`
	Usage     rewardUsage          `json:"usage"`
}

type rewardUsage struct {
	PromptTokens int `json:"prompt_tokens"` // all tokens that were read
	TotalTokens  int `json:"total_tokens"`
}

// scoreRewards answers with the rewards of up to maxPairs pairs.
func (s *server) scoreRewards(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), rewardTimeout)
	defer cancel()
	controller(c).SetWriteDeadline(time.Now().Add(rewardTimeout + 5*time.Second)) // writers without deadlines (tests) say so; that is fine
	started := time.Now()
	var r rewardRequest
	body, err := checkedBody(c)
	if err == nil {
		err = r.parse(body)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	m, err := s.Rewards.Reward(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	if r.Model != "" && r.Model != defaultModel && r.Model != m.Name && r.Model != m.VersionID {
		s.fail(c, status(http.StatusNotFound, fmt.Sprintf("the reward model that serves is %s, not the one that was asked for", m.Name)))
		return
	}
	seqs, err := r.sequences(m)
	if err != nil {
		s.fail(c, err)
		return
	}
	k, tokens, used := c.MustGet(apiKey).(account.Key), 0, 0
	for _, q := range seqs {
		tokens += len(q.IDs)
	}
	held, err := s.reserve(c, k, tokens)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer func() { held.end(used) }()
	verdicts, err := s.judge(ctx, m, seqs)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := rewardAnswer{Rewards: []float64{}, Scores: []float64{}, ExtraLogs: map[string][]float64{"tokens": {}}, Model: m.Name, Version: m.VersionID}
	if m.Scorer.Members() > 1 {
		out.ExtraLogs["variance"] = []float64{}
	}
	for i, v := range verdicts {
		out.Rewards, out.Scores = append(out.Rewards, v.Reward), append(out.Scores, v.Preferred)
		out.ExtraLogs["tokens"] = append(out.ExtraLogs["tokens"], float64(len(seqs[i].IDs)))
		if m.Scorer.Members() > 1 {
			out.ExtraLogs["variance"] = append(out.ExtraLogs["variance"], v.Variance)
		}
	}
	out.Usage = rewardUsage{tokens, tokens}
	if err := s.note(ctx, k, account.Usage{KeyID: k.ID, UserID: k.CustomerID, Endpoint: rewardPath, ModelVersion: m.VersionID,
		PromptTokens: tokens, Finish: "stop", Duration: time.Since(started)}); err != nil {
		s.fail(c, err)
		return
	}
	used = tokens
	c.Header(versionHeader, m.VersionID)
	c.JSON(http.StatusOK, out)
}

// judge scores when it is this request's turn: a batch keeps all cores busy, so that several at once would only take memory.
func (s *server) judge(ctx context.Context, m *ServedReward, seqs []model.Sequence) ([]reward.Verdict, error) {
	if len(seqs) == 0 {
		return nil, nil
	}
	leave, err := s.scoring.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return m.Scorer.Verdicts(ctx, seqs)
}

// parse reads a request and checks that its lists fit together.
func (r *rewardRequest) parse(body []byte) error {
	if err := json.Unmarshal(body, r); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return bad("/"+strings.ReplaceAll(wrong.Field, ".", "/"), fmt.Sprintf("has the wrong type: %s", wrong.Value))
		}
		return bad("", "body is not the JSON object that is wanted")
	}
	n := len(r.Query)
	switch {
	case r.Query == nil && r.Completions == nil:
		return bad("", `either "query" or "prompts" with "completions" is wanted`)
	case r.Query != nil && r.Completions != nil:
		return bad("/completions", "cannot stand beside query, which holds the completions already")
	case r.Completions != nil && len(r.Prompts) != len(r.Completions):
		return bad("/prompts", fmt.Sprintf("has %d entries for %d completions", len(r.Prompts), len(r.Completions)))
	case r.Completions != nil:
		n = len(r.Completions)
	case r.Prompts != nil && len(r.Prompts) != n:
		return bad("/prompts", fmt.Sprintf("has %d entries for %d queries", len(r.Prompts), n))
	}
	switch {
	case n > maxPairs:
		return bad("", fmt.Sprintf("%d pairs are too many for one request: at most %d", n, maxPairs))
	case r.Finished != nil && len(r.Finished) != n:
		return bad("/finished", fmt.Sprintf("has %d entries for %d pairs", len(r.Finished), n))
	}
	return nil
}

// sequences are the pairs as the model reads them: the prompt, the completion, and the end token where the completion is finished.
func (r *rewardRequest) sequences(m *ServedReward) ([]model.Sequence, error) {
	n := max(len(r.Query), len(r.Completions))
	out := make([]model.Sequence, n)
	cfg := m.Scorer.Model().Config()
	for i := range out {
		where, pair := fmt.Sprintf("/query/%d", i), r.queryAt
		if r.Query == nil {
			where, pair = fmt.Sprintf("/completions/%d", i), r.pairAt
		}
		prompt, answer, err := pair(m, i)
		if err != nil {
			return nil, err
		}
		if cfg.EOS >= 0 && (r.Finished == nil || r.Finished[i]) {
			answer = append(answer, int32(cfg.EOS))
		}
		if got := len(prompt) + len(answer); got > cfg.Context {
			return nil, bad(where, fmt.Sprintf("has %d tokens, and the reward model reads at most %d", got, cfg.Context))
		}
		ids := append(append(make([]int32, 0, len(prompt)+len(answer)), prompt...), answer...)
		for _, id := range ids {
			if int(id) >= cfg.Vocab {
				return nil, bad(where, "holds a token that the reward model does not know")
			}
		}
		out[i] = model.Sequence{IDs: ids, Start: len(prompt)}
	}
	return out, nil
}

// queryAt splits a query where its prompt ends. The prompt was composed by the trainer, so special tokens in it are such; what a policy
// wrote is text. A query that does not begin with its prompt is the trainer's own as a whole.
func (r *rewardRequest) queryAt(m *ServedReward, i int) (prompt, answer []int32, err error) {
	query := bare(r.Query[i])
	if query == "" {
		return nil, nil, bad(fmt.Sprintf("/query/%d", i), "is empty")
	}
	if r.Prompts != nil {
		text, messages, err := turnsOf("/prompts", i, r.Prompts[i])
		if err != nil {
			return nil, nil, err
		}
		if messages != nil {
			return nil, nil, bad(fmt.Sprintf("/prompts/%d", i), "must be the text that the query begins with")
		}
		if rest, ok := strings.CutPrefix(query, strings.TrimPrefix(text, startOf(text))); ok && text != "" {
			return m.start(strings.TrimSuffix(query, rest)), m.Tokenizer.Encode(rest), nil
		}
	}
	return m.start(query), nil, nil
}

// pairAt reads a prompt and its completion.
func (r *rewardRequest) pairAt(m *ServedReward, i int) (prompt, answer []int32, err error) {
	text, conversation, err := turnsOf("/prompts", i, r.Prompts[i])
	if err != nil {
		return nil, nil, err
	}
	said, messages, err := turnsOf("/completions", i, r.Completions[i])
	if err != nil {
		return nil, nil, err
	}
	if messages != nil {
		if len(messages) != 1 || messages[0].Role != "assistant" {
			return nil, nil, bad(fmt.Sprintf("/completions/%d", i), "must be a text or a list of one message of the assistant")
		}
		said = messages[0].Content
	}
	if conversation == nil {
		if bare(text) == "" && said == "" {
			return nil, nil, bad(fmt.Sprintf("/completions/%d", i), "is empty, and so is its prompt")
		}
		return m.start(bare(text)), m.Tokenizer.Encode(said), nil
	}
	if prompt, err = token.PromptIDs(m.Tokenizer, m.Template, conversation); err != nil {
		return nil, nil, bad(fmt.Sprintf("/prompts/%d", i), "is no conversation that a model could answer")
	}
	return prompt, m.Tokenizer.Encode(" " + strings.TrimSpace(said)), nil // as the reward model learned answers to conversations
}

// start encodes text that a trainer composed, behind the token that begins a text where there is one.
func (m *ServedReward) start(text string) []int32 {
	ids := token.EncodeSpecial(m.Tokenizer, text)
	if bos := m.Tokenizer.BOS(); bos >= 0 {
		return append([]int32{bos}, ids...)
	}
	return ids
}

// turnsOf reads a text or a list of messages; messages is nil for a text.
func turnsOf(list string, i int, raw json.RawMessage) (text string, messages []token.Message, err error) {
	where := fmt.Sprintf("%s/%d", list, i)
	if json.Unmarshal(raw, &text) == nil && len(raw) > 0 && raw[0] == '"' {
		return text, nil, nil
	}
	var turns []struct{ Role, Content string }
	if json.Unmarshal(raw, &turns) != nil || len(turns) == 0 {
		return "", nil, bad(where, "must be a text or a list of messages with role and content")
	}
	for _, t := range turns {
		messages = append(messages, token.Message{Role: t.Role, Content: t.Content})
	}
	return "", messages, nil
}

// Trainers decode their tokens with the special ones, which a reward model of another family does not know by name.
var (
	starts = []string{"<s>", "<|begin_of_text|>", "<bos>", "[BOS]"}
	ends   = []string{"</s>", "<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<eos>", "<end_of_turn>"}
)

func startOf(text string) string {
	for _, name := range starts {
		if strings.HasPrefix(text, name) {
			return name
		}
	}
	return ""
}

// bare is a text without the special tokens that begin and end it: they are set anew, as openrlhf.cli.serve_rm does.
func bare(text string) string {
	text = strings.TrimPrefix(text, startOf(text))
	for {
		cut := text
		for _, name := range ends {
			cut = strings.TrimSuffix(cut, name)
		}
		if cut == text {
			return text
		}
		text = cut
	}
}
