package conversation

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const turnColumns = `t.id, coalesce(t.parent_id::text, ''), t.role, t.content, t.completion_id, t.choice, t.model_name, t.model_version, t.finish, t.prompt_tokens,
	t.completion_tokens, t.left_out, t.settings, t.tokens IS NOT NULL, t.rating, t.vote, t.created_at`

func scanTurn(row pgx.CollectableRow) (t Turn, err error) {
	err = row.Scan(&t.ID, &t.Parent, &t.Role, &t.Content, &t.CompletionID, &t.Choice, &t.ModelName, &t.ModelVersion, &t.Finish, &t.PromptTokens,
		&t.CompletionTokens, &t.LeftOut, &t.Settings, &t.HasTokens, &t.Rating, &t.Vote, &t.CreatedAt)
	return t, err
}

func (s *Store) turns(ctx context.Context, op, sql string, args ...any) ([]Turn, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, wrap(op, err)
	}
	list, err := pgx.CollectRows(rows, scanTurn)
	return list, wrap(op, err)
}

// Turns are all turns of a conversation, in the order in which they were said.
func (s *Store) Turns(ctx context.Context, owner, id string) ([]Turn, error) {
	if !isID(id) {
		return nil, wrap("turns", ErrNotFound)
	}
	return s.turns(ctx, "turns", `SELECT `+turnColumns+` FROM conversation_turns t JOIN conversations c ON c.id = t.conversation_id
		WHERE c.id = $1 AND c.customer_id = $2 ORDER BY t.id`, id, owner)
}

// Branch is the way from a conversation's beginning to one of its turns. leaf "" is the empty branch.
func (s *Store) Branch(ctx context.Context, owner, id, leaf string) ([]Turn, error) {
	all, err := s.Turns(ctx, owner, id)
	if err == nil && len(all) == 0 {
		_, err = s.Get(ctx, owner, id) // tells an empty conversation from somebody else's
	}
	if err != nil || leaf == "" {
		return nil, err
	}
	return branch(all, leaf)
}

func branch(all []Turn, leaf string) ([]Turn, error) {
	by := make(map[string]Turn, len(all))
	for _, t := range all {
		by[t.ID] = t
	}
	var out []Turn
	for at := leaf; at != ""; at = by[at].Parent {
		t, ok := by[at]
		if !ok {
			return nil, &InvalidError{"parent", "must be a turn of the conversation"}
		}
		out = append(out, t)
	}
	slices.Reverse(out)
	return out, nil
}

// Ask adds a question behind an answer (parent "": at the beginning). It is the open branch's end from now on.
func (s *Store) Ask(ctx context.Context, owner, id, parent, content string, settings Settings) (Turn, error) {
	if content == "" || len(content) > MaxContent || !text(content) {
		return Turn{}, &InvalidError{"content", "must be text of 1 to 32000 bytes"}
	}
	if err := settings.Check(); err != nil {
		return Turn{}, err
	}
	t := Turn{Parent: parent, Role: User, Content: content, Settings: settings}
	list, err := s.add(ctx, owner, id, []NewAnswer{{Turn: t}})
	if err != nil {
		return Turn{}, wrap("ask", err)
	}
	return list[0], nil
}

// Answer adds answers to a question; the first is the open branch's end from now on.
func (s *Store) Answer(ctx context.Context, owner, id string, answers []NewAnswer) ([]Turn, error) {
	list, err := s.add(ctx, owner, id, answers)
	return list, wrap("answer", err)
}

func (s *Store) add(ctx context.Context, owner, id string, turns []NewAnswer) (out []Turn, err error) {
	if !isID(id) {
		return nil, ErrNotFound
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		out = nil
		var n int
		if err := tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM conversation_turns t WHERE t.conversation_id = c.id) FROM conversations c
			WHERE c.id = $1 AND c.customer_id = $2 FOR UPDATE`, id, owner).Scan(&n); err != nil {
			return err
		}
		if n+len(turns) > MaxTurns {
			return ErrFull
		}
		for _, t := range turns {
			before := map[string]string{User: Assistant, Assistant: User}[t.Role]
			if t.Parent != "" || t.Role == Assistant {
				var role string
				if isID(t.Parent) {
					if err := tx.QueryRow(ctx, `SELECT coalesce((SELECT role FROM conversation_turns WHERE id = $1 AND conversation_id = $2), '')`, t.Parent, id).Scan(&role); err != nil {
						return err
					}
				}
				if role != before {
					return &InvalidError{"parent", "must be a turn of the conversation, and of the other side"}
				}
			}
			rows, err := tx.Query(ctx, `INSERT INTO conversation_turns AS t (id, conversation_id, parent_id, role, content, completion_id, choice, model_name, model_version,
				finish, prompt_tokens, completion_tokens, left_out, settings, tokens)
				VALUES ($1, $2, nullif($3, '')::uuid, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING `+turnColumns,
				newID(), id, t.Parent, t.Role, t.Content, t.CompletionID, t.Choice, t.ModelName, t.ModelVersion, t.Finish, t.PromptTokens, t.CompletionTokens,
				t.LeftOut, t.Settings, t.Tokens)
			if err != nil {
				return err
			}
			added, err := pgx.CollectExactlyOneRow(rows, scanTurn)
			if err != nil {
				return err
			}
			out = append(out, added)
		}
		_, err := tx.Exec(ctx, `UPDATE conversations SET leaf = $2, settings = $3, updated_at = now() WHERE id = $1`, id, out[0].ID, out[0].Settings)
		return err
	})
	return out, err
}

// Turn returns one turn, its conversation, and the other answers of the same completion.
func (s *Store) Turn(ctx context.Context, owner, id string) (t Turn, c Conversation, others []Turn, err error) {
	if !isID(id) {
		return t, c, nil, wrap("turn", ErrNotFound)
	}
	var in string
	if err = s.pool.QueryRow(ctx, `SELECT t.conversation_id FROM conversation_turns t JOIN conversations c ON c.id = t.conversation_id
		WHERE t.id = $1 AND c.customer_id = $2`, id, owner).Scan(&in); err != nil {
		return t, c, nil, wrap("turn", err)
	}
	if c, err = s.Get(ctx, owner, in); err != nil {
		return t, c, nil, err
	}
	list, err := s.turns(ctx, "turn", `SELECT `+turnColumns+` FROM conversation_turns t WHERE t.id = $1
		OR t.conversation_id = $2 AND t.completion_id <> '' AND t.completion_id = (SELECT completion_id FROM conversation_turns WHERE id = $1) ORDER BY t.choice, t.id`, id, in)
	for _, x := range list {
		if x.ID == id {
			t = x
		} else {
			others = append(others, x)
		}
	}
	return t, c, others, err
}

// Rate keeps what a person thinks of an answer: 1, -1, or 0 to take it back.
func (s *Store) Rate(ctx context.Context, id string, rating int) error {
	_, err := s.pool.Exec(ctx, `UPDATE conversation_turns SET rating = $2 WHERE id = $1`, id, rating)
	return wrap("rate", err)
}

// Vote keeps which of two answers is better, and opens the branch of that one.
func (s *Store) Vote(ctx context.Context, conversation, one, other, vote string) error {
	opposite := map[string]string{Better: Worse, Worse: Better, Tie: Tie, Bad: Bad}[vote]
	if opposite == "" {
		return &InvalidError{"vote", "must be better, worse, tie or bad"}
	}
	leaf := one
	if vote == Worse {
		leaf = other
	}
	return wrap("vote", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE conversation_turns SET vote = CASE WHEN id = $1 THEN $3 ELSE $4 END WHERE id IN ($1, $2)`, one, other, vote, opposite); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE conversations SET leaf = $2 WHERE id = $1`, conversation, leaf)
		return err
	}))
}

// Tokens are the tokens of an answer: [[text, log-probability, [[text, log-probability], ...]], ...], the last its likeliest
// alternatives. Log-probabilities are natural logarithms.
func (s *Store) Tokens(ctx context.Context, owner, id string) (json.RawMessage, error) {
	if !isID(id) {
		return nil, wrap("tokens", ErrNotFound)
	}
	var tokens json.RawMessage
	err := s.pool.QueryRow(ctx, `SELECT t.tokens FROM conversation_turns t JOIN conversations c ON c.id = t.conversation_id
		WHERE t.id = $1 AND c.customer_id = $2 AND t.tokens IS NOT NULL`, id, owner).Scan(&tokens)
	return tokens, wrap("tokens", err)
}

// Share makes a link to a branch as it stands; a former link of the conversation dies. Only a digest of the token is kept.
func (s *Store) Share(ctx context.Context, owner, id, leaf string) (token string, err error) {
	if _, err := s.Branch(ctx, owner, id, leaf); err != nil {
		return "", err
	}
	if !isID(leaf) {
		return "", &InvalidError{"leaf", "must be a turn of the conversation"}
	}
	raw := make([]byte, 32)
	rand.Read(raw)
	token = base64.RawURLEncoding.EncodeToString(raw)
	sum := sha256.Sum256([]byte(token))
	tag, err := s.pool.Exec(ctx, `UPDATE conversations SET share_hash = $3, share_leaf = $4, shared_at = now() WHERE id = $1 AND customer_id = $2`, id, owner, sum[:], leaf)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	return token, wrap("share", err)
}

// Unshare revokes the link.
func (s *Store) Unshare(ctx context.Context, owner, id string) error {
	if !isID(id) {
		return wrap("unshare", ErrNotFound)
	}
	tag, err := s.pool.Exec(ctx, `UPDATE conversations SET share_hash = NULL, share_leaf = NULL, shared_at = NULL WHERE id = $1 AND customer_id = $2`, id, owner)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	return wrap("unshare", err)
}

// Shared is the branch behind a link: its conversation, and its turns.
func (s *Store) Shared(ctx context.Context, token string) (Conversation, []Turn, error) {
	sum := sha256.Sum256([]byte(token))
	var owner, id, leaf string
	if err := s.pool.QueryRow(ctx, `SELECT customer_id, id, share_leaf FROM conversations WHERE share_hash = $1`, sum[:]).Scan(&owner, &id, &leaf); err != nil {
		return Conversation{}, nil, wrap("shared", err)
	}
	c, err := s.Get(ctx, owner, id)
	if err != nil {
		return c, nil, err
	}
	turns, err := s.Branch(ctx, owner, id, leaf)
	return c, turns, err
}

// ThumbsOf counts what people think of answers that versions of the model gave since then: thumbs up and down, by version.
func (s *Store) ThumbsOf(ctx context.Context, versions []string, since time.Time) (map[string][2]int, error) {
	rows, err := s.pool.Query(ctx, `SELECT model_version, count(*) FILTER (WHERE rating > 0), count(*) FILTER (WHERE rating < 0)
		FROM conversation_turns WHERE model_version = ANY($1) AND created_at >= $2 AND rating <> 0 GROUP BY 1`, versions, since)
	if err != nil {
		return nil, wrap("thumbs", err)
	}
	out := map[string][2]int{}
	var version string
	var up, down int
	_, err = pgx.ForEachRow(rows, []any{&version, &up, &down}, func() error {
		out[version] = [2]int{up, down}
		return nil
	})
	return out, wrap("thumbs", err)
}
