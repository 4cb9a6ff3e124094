package openai

// Model is one entry of GET /v1/models.
type Model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`  // "model"
	Created int64  `json:"created"` // Unix seconds
	OwnedBy string `json:"owned_by"`
}

// NewModel is a served model.
func NewModel(id string, created int64) Model { return Model{id, "model", created, "rankloop"} }

// ModelList is the body of GET /v1/models.
type ModelList struct {
	Object string  `json:"object"` // "list"
	Data   []Model `json:"data"`
}

// Usage counts the tokens of a request.
type Usage struct {
	PromptTokens     int               `json:"prompt_tokens"`
	CompletionTokens int               `json:"completion_tokens"` // of all choices that were sampled
	TotalTokens      int               `json:"total_tokens"`
	Prompt           PromptDetails     `json:"prompt_tokens_details"`
	Completion       CompletionDetails `json:"completion_tokens_details"`
}

// PromptDetails are parts of PromptTokens.
type PromptDetails struct {
	CachedTokens int `json:"cached_tokens"` // not read again, as an earlier prompt of the customer began alike
	AudioTokens  int `json:"audio_tokens"`  // always 0
}

// CompletionDetails are parts of CompletionTokens that OpenAI's models may have; here always 0.
type CompletionDetails struct {
	ReasoningTokens          int `json:"reasoning_tokens"`
	AudioTokens              int `json:"audio_tokens"`
	AcceptedPredictionTokens int `json:"accepted_prediction_tokens"`
	RejectedPredictionTokens int `json:"rejected_prediction_tokens"`
}

// NewUsage adds up; cached is the part of prompt that was not read again.
func NewUsage(prompt, cached, completion int) Usage {
	return Usage{PromptTokens: prompt, CompletionTokens: completion, TotalTokens: prompt + completion, Prompt: PromptDetails{CachedTokens: cached}}
}

// Chat is the body of a whole chat answer.
type Chat struct {
	ID                string       `json:"id"`
	Object            string       `json:"object"` // "chat.completion"
	Created           int64        `json:"created"`
	Model             string       `json:"model"`
	Choices           []ChatChoice `json:"choices"`
	Usage             Usage        `json:"usage"`
	SystemFingerprint string       `json:"system_fingerprint"`
}

// ChatChoice is one answer.
type ChatChoice struct {
	Index        int           `json:"index"`
	Message      Reply         `json:"message"`
	Logprobs     *ChatLogprobs `json:"logprobs"`
	FinishReason string        `json:"finish_reason"` // stop or length
}

// Reply is the assistant's message.
type Reply struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"`
}

// ChatLogprobs are the log-probabilities of an answer's tokens.
type ChatLogprobs struct {
	Content []TokenLogprob `json:"content"`
	Refusal []TokenLogprob `json:"refusal"`
}

// TokenLogprob is a token with its natural log-probability and its likeliest rivals.
type TokenLogprob struct {
	Token       string       `json:"token"`
	Logprob     float64      `json:"logprob"`
	Bytes       []int        `json:"bytes"`
	TopLogprobs []TopLogprob `json:"top_logprobs"`
}

// TopLogprob is a likely token.
type TopLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

// ByteList is b as JSON wants it: numbers, not base64.
func ByteList(b []byte) []int {
	out := make([]int, len(b))
	for i, x := range b {
		out[i] = int(x)
	}
	return out
}

// ChatChunk is one event of a chat stream. All chunks of a stream share id and created.
type ChatChunk struct {
	ID                string        `json:"id"`
	Object            string        `json:"object"` // "chat.completion.chunk"
	Created           int64         `json:"created"`
	Model             string        `json:"model"`
	SystemFingerprint string        `json:"system_fingerprint"`
	Choices           []DeltaChoice `json:"choices"`
	Usage             *Usage        `json:"usage"`
}

// DeltaChoice is what a chunk adds to an answer.
type DeltaChoice struct {
	Index        int           `json:"index"`
	Delta        Delta         `json:"delta"`
	Logprobs     *ChatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

// Delta is new text; the first one names the role, the last one is empty.
type Delta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

// Completion is the body of a whole completion, and of each chunk of its stream.
type Completion struct {
	ID                string             `json:"id"`
	Object            string             `json:"object"` // "text_completion"
	Created           int64              `json:"created"`
	Model             string             `json:"model"`
	Choices           []CompletionChoice `json:"choices"`
	Usage             *Usage             `json:"usage"`
	SystemFingerprint string             `json:"system_fingerprint"`
}

// CompletionChoice is one continuation.
type CompletionChoice struct {
	Index        int                 `json:"index"`
	Text         string              `json:"text"`
	Logprobs     *CompletionLogprobs `json:"logprobs"`
	FinishReason *string             `json:"finish_reason"`
}

// CompletionLogprobs are parallel lists over the tokens of a choice's text, those of an echoed prompt included. TextOffset counts
// characters from the start of the text. The first token of a text has no log-probability: null.
type CompletionLogprobs struct {
	TextOffset    []int                `json:"text_offset"`
	TokenLogprobs []*float64           `json:"token_logprobs"`
	Tokens        []string             `json:"tokens"`
	TopLogprobs   []map[string]float64 `json:"top_logprobs"`
}
