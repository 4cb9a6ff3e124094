package web

import (
	"strings"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
)

// trainingKey is the key of a request's metadata by which a customer decides for one request whether it may be used for
// training: "true" or "false", whatever the API key says.
const trainingKey = "training"

// training is what a request says of its use for training, and what is gathered for it.
type training struct {
	id      string // of the completion, as the customer knows it
	offered bool   // the request may join the labeling pool where the key's owner consents
	asked   bool   // the request itself consents
	endUser string
	answers map[int]*sampled // by choice
}

// sampled is a choice as it was drawn.
type sampled struct {
	ids    []int32
	text   strings.Builder
	finish string
}

func trainingOf(r *openai.Sampling) training {
	t := training{offered: openai.Value(r.Store, true), endUser: r.User, answers: map[int]*sampled{}}
	switch r.Metadata[trainingKey] {
	case "true":
		t.asked = t.offered // what must not be stored is not
	case "false":
		t.offered = false
	}
	return t
}

// note takes a token to what is kept of its choice.
func (t *training) note(tok decode.Token) {
	if !t.offered {
		return
	}
	a := t.answers[tok.Choice]
	if a == nil {
		a = &sampled{}
		t.answers[tok.Choice] = a
	}
	a.ids = append(a.ids, tok.ID)
	a.text.WriteString(tok.Text)
	if tok.Finish != "" {
		a.finish = tok.Finish
	}
}

// named gives the job's completion its id.
func (j *job) named(prefix string) string {
	j.training.id = randomID(prefix)
	return j.training.id
}

// consents says whether the request may be used for training: for its key, or by its own word. Nothing else is kept.
func (j *job) consents() bool {
	return j.offered && j.consent().ID != "" && (j.consent().TrainingOptIn || j.asked) && j.training.id != ""
}

// consent is the key under which a request is kept.
func (j *job) consent() account.Key {
	if j.conversation != "" {
		return account.Key{ID: chatSource(j.conversation), CustomerID: j.userID}
	}
	return j.key
}

// chatSource is what stands for an API key where something was said at the chat page: a conversation decides by itself.
func chatSource(conversation string) string { return "chat:" + conversation }

// answered is a prompt of the request with its answers; without them where one was broken off before its end: labelers are
// not to rank halves.
func (j *job) answered(prompt int) Prompt {
	p := j.prompts[prompt]
	p.CompletionID, p.Position, p.EndUser, p.ModelVersion = j.training.id, prompt, j.endUser, j.VersionID
	for i := range j.n {
		a := j.answers[prompt*j.n+i]
		if a == nil || a.finish == "" {
			p.Answers = nil
			break
		}
		text := a.text.String()
		if j.param == "messages" {
			text = strings.TrimPrefix(text, " ") // as a chat shows it
		}
		p.Answers = append(p.Answers, labeling.NewResponse{Text: text, TokenIDs: a.ids, TokenizerDigest: p.TokenizerDigest, ModelVersion: j.VersionID, Finish: a.finish})
	}
	return p
}
