package labeling

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Open-Assistant's message trees: {"message_tree_id", "tree_state", "prompt": message},
// where a message has text, role (prompter or assistant), rank (0 = best among its
// siblings), replies, and events.ranking, one entry a volunteer:
//
//	{"type": "ranking", "user_id": "..", "ranked_message_ids": [best, .., worst]}
//
// Each set of two or more replies of the assistant becomes a record, one a volunteer where
// events are there, otherwise one of the merged ranks; deleted, rejected and unranked
// replies are left out. A tree with one usable set is imported.
//
// Of ties the published shape knows nothing; entries that are written carry the ranks
// beside the ids ("ranks": [1, 1, 3]), and read them. Labelers' names are replaced by
// numbers within a tree, as the published trees' are anonymous.
//
// Read as well: the flat file of reply sets {"messages", "replies": [{"rank", "text"}]}.

type oasstMessage struct {
	ID       string         `json:"message_id"`
	Parent   string         `json:"parent_id,omitempty"`
	Text     string         `json:"text"`
	Role     string         `json:"role"`
	Lang     string         `json:"lang,omitempty"`
	Reviewed *bool          `json:"review_result,omitempty"`
	Deleted  bool           `json:"deleted,omitempty"`
	Rank     *int           `json:"rank,omitempty"`
	Replies  []oasstMessage `json:"replies"`
	Events   *oasstEvents   `json:"events,omitempty"`
}

type oasstEvents struct {
	Ranking []oasstRanking `json:"ranking,omitempty"`
}

type oasstRanking struct {
	Type        string   `json:"type"`
	User        *string  `json:"user_id,omitempty"`
	IDs         []string `json:"ranked_message_ids"`
	Ranks       []int    `json:"ranks,omitempty"`
	Parent      string   `json:"ranking_parent_id,omitempty"`
	NotRankable bool     `json:"not_rankable,omitempty"`
}

func isOASST(o object) bool {
	return has("message_tree_id", "prompt")(o) || has("messages", "replies")(o)
}

func parseOASST(o object) ([]Record, error) {
	if has("messages", "replies")(o) {
		return parseReplySet(o)
	}
	var root oasstMessage
	if err := need(o, "prompt", &root); err != nil {
		return nil, err
	}
	var list []Record
	var wrong error
	var walk func(m oasstMessage, so []Message)
	walk = func(m oasstMessage, so []Message) {
		role := m.Role
		if role == "prompter" {
			role = "user"
		}
		so = append(slices.Clip(so), Message{role, m.Text})
		for _, r := range m.ranked(so) {
			if err := r.check(); err != nil {
				wrong = err
				continue
			}
			list = append(list, r)
		}
		for _, reply := range m.Replies {
			if !reply.Deleted {
				walk(reply, so)
			}
		}
	}
	walk(root, nil)
	if len(list) == 0 && wrong == nil {
		wrong = invalid("prompt", "no set of two or more ranked replies in the tree")
	}
	if len(list) > 0 {
		wrong = nil
	}
	return list, wrong
}

// ranked makes records of the replies to m, which ends the conversation so.
func (m oasstMessage) ranked(so []Message) []Record {
	base := Record{Messages: so}
	at := map[string]int{} // position by id
	var merged []int
	for _, r := range m.Replies {
		if r.Role != "assistant" || r.Deleted || r.Rank == nil || r.Reviewed != nil && !*r.Reviewed || strings.TrimSpace(r.Text) == "" {
			continue
		}
		at[r.ID] = len(base.Completions)
		base.Completions = append(base.Completions, r.Text)
		merged = append(merged, *r.Rank+1)
	}
	if len(base.Completions) < MinAnswers || m.Role == "assistant" {
		return nil
	}
	var list []Record
	if m.Events != nil {
		for _, e := range m.Events.Ranking {
			if ranks := e.ranks(at); ranks != nil && !e.NotRankable {
				r := base
				if r.Ranks = ranks; e.User != nil {
					r.Labeler = *e.User
				}
				list = append(list, r)
			}
		}
	}
	if len(list) == 0 {
		base.Ranks = merged
		list = append(list, base)
	}
	return list
}

// ranks are the entry's ranks of the replies at the given positions; nil where it does
// not rank all of them.
func (e oasstRanking) ranks(at map[string]int) []int {
	ranks, n := make([]int, len(at)), 0
	for i, id := range e.IDs {
		pos, ok := at[id]
		if !ok {
			continue
		}
		if ranks[pos] != 0 {
			return nil
		}
		if ranks[pos] = i + 1; len(e.Ranks) == len(e.IDs) {
			ranks[pos] = e.Ranks[i]
		}
		n++
	}
	if n < len(at) {
		return nil
	}
	return ranks
}

func parseReplySet(o object) ([]Record, error) {
	var r Record
	var replies []struct {
		Text string
		Rank *int
	}
	for _, err := range []error{need(o, "messages", &r.Messages), need(o, "replies", &replies)} {
		if err != nil {
			return nil, err
		}
	}
	for i := range r.Messages {
		if r.Messages[i].Role == "prompter" {
			r.Messages[i].Role = "user"
		}
	}
	for i, v := range replies {
		if v.Rank == nil || *v.Rank < 0 {
			return nil, invalid(fmt.Sprintf("replies[%d].rank", i), "a number from 0 is wanted")
		}
		r.Completions, r.Ranks = append(r.Completions, v.Text), append(r.Ranks, *v.Rank+1)
	}
	return []Record{r}, nil
}

type oasstEncoder struct{ w io.Writer }

func encodeOASST(w io.Writer) encoder { return oasstEncoder{w} }

// write writes a prompt as a tree of one branch. A conversation with a system's turn, or
// whose turns do not alternate, has no place in a tree.
func (e oasstEncoder) write(p RankedPrompt) (int, error) {
	turns := conversationOf(p)
	for i, m := range turns {
		if m.Role != [2]string{"user", "assistant"}[i%2] {
			return 0, nil
		}
	}
	id := func(i int) string { return fmt.Sprintf("%s-%d", p.TaskID, i) }
	yes := true
	last := oasstMessage{ID: id(len(turns) - 1), Text: turns[len(turns)-1].Content, Role: "prompter", Reviewed: &yes, Events: &oasstEvents{}}
	ids := make([]string, len(p.Completions))
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%c", p.TaskID, 'a'+i)
	}
	means := make([]int, len(ids)) // K times the mean rank would do as well; only its order counts
	for n, k := range p.Rankings {
		user := fmt.Sprintf("labeler %d", n+1)
		order := make([]int, len(ids))
		for i := range order {
			order[i] = i
			means[i] += k.Ranks[i]
		}
		slices.SortStableFunc(order, func(a, b int) int { return k.Ranks[a] - k.Ranks[b] })
		entry := oasstRanking{Type: "ranking", User: &user, Parent: last.ID}
		for _, i := range order {
			entry.IDs, entry.Ranks = append(entry.IDs, ids[i]), append(entry.Ranks, k.Ranks[i])
		}
		last.Events.Ranking = append(last.Events.Ranking, entry)
	}
	for i := range means {
		means[i]++
	}
	merged, err := Canonical(means)
	if err != nil {
		return 0, err
	}
	for i, c := range p.Completions {
		rank := merged[i] - 1
		last.Replies = append(last.Replies, oasstMessage{ID: ids[i], Parent: last.ID, Text: c.Text, Role: "assistant", Reviewed: &yes, Rank: &rank, Replies: []oasstMessage{}})
	}
	for i := len(turns) - 2; i >= 0; i-- {
		last.Parent = id(i)
		last = oasstMessage{ID: id(i), Text: turns[i].Content, Role: [2]string{"prompter", "assistant"}[i%2], Reviewed: &yes, Replies: []oasstMessage{last}}
	}
	line, err := jsonText(struct {
		ID     string       `json:"message_tree_id"`
		State  string       `json:"tree_state"`
		Prompt oasstMessage `json:"prompt"`
	}{last.ID, "ready_for_export", last})
	if err == nil {
		_, err = e.w.Write(append(line, '\n'))
	}
	return len(p.Rankings), err
}

func (oasstEncoder) close() error { return nil }

// keysOf are the keys of a JSON object in the order in which they stand in it.
func keysOf(raw json.RawMessage) []string {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var keys []string
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil
		}
		var skip json.RawMessage
		if d.Decode(&skip) != nil {
			return nil
		}
		keys = append(keys, k.(string))
	}
	return keys
}
