package web

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// AfterSubmit runs in the transaction of a ranking, after everything else: the loop's Advance.
type AfterSubmit func(ctx context.Context, tx pgx.Tx, projectID string) error

// OnPrompt offers an answered prompt to the labeling pool, and keeps what feedback on it needs. It is called in the
// transaction of the usage row, only where the customer consents to training: for the key, or for the request. key is the one
// that consents; its ID is "chat:<conversation>" for what is said at the chat page. A prompt that is not wanted (a duplicate,
// over the customer's cap) is no error: an error undoes the usage row and is logged.
type OnPrompt func(ctx context.Context, tx pgx.Tx, key account.Key, p Prompt) error

// Prompt is a conversation as it was given to the model, with what it answered.
type Prompt struct {
	Messages        []labeling.Message // a completion's prompt is one user message
	Text            string             // rendered by the chat template, or the completion's prompt
	TokenIDs        []int32
	Begun           bool // the first of TokenIDs begins a text and is no part of Text
	TokenizerDigest string

	CompletionID string // as the customer knows the request
	Position     int    // of the prompt in its request
	EndUser      string // "user" of the request
	ModelVersion string
	Answers      []labeling.NewResponse // one a choice
}

// Answered is the prompt as the labeling pool takes it, under the key's consent.
func (p Prompt) Answered(projectID string, key account.Key) labeling.Answered {
	return labeling.Answered{
		Prompt: labeling.NewPrompt{ProjectID: projectID, Messages: p.Messages, Text: p.Text, TokenIDs: p.TokenIDs, TokenizerDigest: p.TokenizerDigest,
			Origin: labeling.OriginAPI, CustomerID: key.CustomerID, APIKeyID: key.ID, Consent: true},
		CompletionID: p.CompletionID, Position: p.Position, EndUser: p.EndUser, ModelVersion: p.ModelVersion, Answers: p.Answers,
	}
}

// record writes the usage row together with what the customer asked to keep, and offers the prompts to the labeling pool in the
// same transaction where their owner consents. It works on after the client has gone. A prompt that the pool cannot take does not
// cost the usage row.
func (s *server) record(c *gin.Context, j *job) error {
	j.settle()
	s.observe(j)
	defer j.end() // before the answer is out: the client's next request finds its limits as they are
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), 5*time.Second)
	defer cancel()
	u := account.Usage{KeyID: j.key.ID, UserID: j.userID, Endpoint: j.endpoint, ModelVersion: j.VersionID, PromptTokens: j.promptToks,
		CachedTokens: j.cached, CompletionTokens: j.drawn, Finish: j.finish, Duration: time.Since(j.started)}
	var keep func(ctx context.Context, tx pgx.Tx) error
	if j.keep != nil {
		keep = func(ctx context.Context, tx pgx.Tx) error { return s.Stored.Add(ctx, tx, *j.keep) }
	}
	if s.OnPrompt == nil || !j.consents() || j.finish == "error" {
		if keep == nil {
			return s.note(ctx, j.key, u)
		}
		return s.Accounts.Record(ctx, u, keep)
	}
	err := s.Accounts.Record(ctx, u, func(ctx context.Context, tx pgx.Tx) error {
		for i := range j.prompts {
			if err := s.OnPrompt(ctx, tx, j.consent(), j.answered(i)); err != nil {
				return err
			}
		}
		if keep == nil {
			return nil
		}
		return keep(ctx, tx)
	})
	if err == nil || unavailable(err) {
		return err
	}
	s.Log.WarnContext(c.Request.Context(), "prompt not taken into the labeling pool", "request", requestID(c.Request), "key", j.consent().ID, "error", err)
	return s.Accounts.Record(ctx, u, keep)
}

// note records usage that nothing else hangs on: soon. The quota of a day is read from what is recorded, so that of a key that has one
// is, before the request lets go of what it has set aside.
func (s *server) note(ctx context.Context, k account.Key, u account.Usage) error {
	if k.DailyTokens > 0 {
		return s.Accounts.Record(ctx, u, nil)
	}
	return s.Accounts.Note(ctx, u)
}

// unavailable says whether the database could not be reached or refused work for now: it is worth trying again.
func unavailable(err error) bool {
	var connect *pgconn.ConnectError
	var pg *pgconn.PgError
	var op *net.OpError
	if errors.As(err, &pg) {
		switch pg.Code[:2] {
		case "08", "53", "57": // connection, resources, operator intervention (statement timeout is 57014)
			return true
		}
		return pg.Code == "25006" || pg.Code == "40001" || pg.Code == "40P01" || pg.Code == "55P03" // read only, serialisation, deadlock, lock
	}
	return errors.As(err, &connect) || errors.As(err, &op) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err)
}
