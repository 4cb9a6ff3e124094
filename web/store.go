package web

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// AfterSubmit runs in the transaction of a ranking, after everything else: the loop's Advance.
type AfterSubmit func(ctx context.Context, tx pgx.Tx, projectID string) error

// OnPrompt offers the conversation of an answered request to the labeling pool. It is called in the transaction of
// the usage row, only for keys whose owner consents (Key.TrainingOptIn) and requests that did not opt out. text is
// what the model was given, ids its tokens. A prompt that is not wanted (a duplicate, over the customer's cap) is no
// error: an error undoes the usage row and is logged.
type OnPrompt func(ctx context.Context, tx pgx.Tx, key account.Key, p Prompt) error

// Prompt is a conversation as it was given to the model.
type Prompt struct {
	Messages        []labeling.Message // a completion's prompt is one user message
	Text            string             // rendered by the chat template, or the completion's prompt
	TokenIDs        []int32
	TokenizerDigest string
}
