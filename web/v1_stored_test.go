package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	types "github.com/openai/openai-go/v3/shared"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
)

// TestStored: what is kept is what was answered, and only where it was asked for; only its customer finds it.
func TestStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, secret := w.key("acme")
	_, stranger := w.key("other")
	b := w.withKey(secret)
	const ask = `{"model":"default","messages":[{"role":"system","content":"Be brief."},{"role":"user","name":"ada","content":[{"type":"text","text":"Tell of "},{"type":"text","text":"龍"}]}],"max_tokens":12,"seed":9,"n":2,"logprobs":true,"top_logprobs":1,"user":"u1","temperature":0.5`
	b.json(post, "/v1/chat/completions", ask+`}`).want(t, http.StatusOK)
	b.json(post, "/v1/chat/completions", ask+`,"store":false,"metadata":{"a":"b"}}`).want(t, http.StatusOK)
	if n := w.count(`SELECT count(*) FROM stored_completions`); n != 0 {
		t.Fatalf("%d completions were kept that nobody asked for", n)
	}
	var whole openai.Chat
	b.json(post, "/v1/chat/completions", ask+`,"store":true,"metadata":{"topic":"dragons","run":"1"}}`).want(t, http.StatusOK).into(t, &whole)
	_, _, _, chunks := chatStream(t, b.json(post, "/v1/chat/completions", ask+`,"store":true,"stream":true}`).want(t, http.StatusOK))

	got := b.get("/v1/chat/completions/"+whole.ID).want(t, http.StatusOK)
	var kept, streamed openai.StoredChat
	got.into(t, &kept)
	a, _ := json.Marshal(whole)
	c, _ := json.Marshal(kept.Chat)
	if string(a) != string(c) || kept.Metadata["topic"] != "dragons" || *kept.Seed != 9 || kept.Temperature != 0.5 || *kept.InputUser != "u1" || kept.RequestID == "" {
		t.Errorf("answered %s\nkept %s", a, got.body)
	}
	b.get("/v1/chat/completions/"+chunks[0].ID).want(t, http.StatusOK).into(t, &streamed)
	x, _ := json.Marshal(whole.Choices)
	y, _ := json.Marshal(streamed.Choices)
	if string(x) != string(y) || streamed.Usage.CompletionTokens != whole.Usage.CompletionTokens || streamed.Created != chunks[0].Created || len(streamed.Metadata) != 0 {
		t.Errorf("whole    %s\nstreamed %s", x, y)
	}
	var messages openai.List[openai.StoredMessage]
	b.get("/v1/chat/completions/"+whole.ID+"/messages?limit=1&order=desc").want(t, http.StatusOK).into(t, &messages)
	if m := messages.Data; len(m) != 1 || m[0].ID != whole.ID+"-1" || m[0].Content != "Tell of 龍" || *m[0].Name != "ada" || !messages.HasMore {
		t.Errorf("messages %+v", messages)
	}
	// Metadata are replaced as a whole.
	var noted openai.StoredChat
	b.json(post, "/v1/chat/completions/"+whole.ID, `{"metadata":{"checked":"yes"}}`).want(t, http.StatusOK).into(t, &noted)
	if fmt.Sprint(noted.Metadata) != "map[checked:yes]" || noted.ID != whole.ID {
		t.Errorf("after the change %+v", noted.Metadata)
	}
	b.json(post, "/v1/chat/completions/"+whole.ID, `{"metadata":{"checked":5}}`).want(t, http.StatusBadRequest)
	// Nobody else finds it, reads its messages, notes on it or deletes it.
	s := w.withKey(stranger)
	path := "/v1/chat/completions/" + whole.ID
	for name, a := range map[string]answer{"get": s.get(path), "messages": s.get(path + "/messages"), "note": s.json(post, path, `{"metadata":{}}`), "delete": s.do(http.MethodDelete, path, "", "")} {
		if a.code != http.StatusNotFound {
			t.Errorf("%s by a stranger answers %d", name, a.code)
		}
	}
	s.get("/v1/chat/completions?after="+whole.ID).want(t, http.StatusBadRequest)
	var list openai.StoredList
	if s.get("/v1/chat/completions").want(t, http.StatusOK).into(t, &list); len(list.Data) != 0 || list.FirstID != nil {
		t.Errorf("a stranger's list %+v", list)
	}
	// Another key of the same customer does.
	_, second, err := w.accounts.CreateKey(t.Context(), account.NewKey{CustomerID: k.CustomerID, Name: "second"})
	w.must(err)
	w.withKey(second).get(path).want(t, http.StatusOK)
	got = b.do(http.MethodDelete, path, "", "").want(t, http.StatusOK)
	if got.body != `{"object":"chat.completion.deleted","id":"`+whole.ID+`","deleted":true}` {
		t.Error(got.body)
	}
	b.get(path).want(t, http.StatusNotFound)
	b.do(http.MethodDelete, path, "", "").want(t, http.StatusNotFound)
	// An erasure takes what is left.
	report, err := w.erase(t.Context(), labeling.Subject{Kind: "customer", ID: k.CustomerID}, "system", false)
	if err != nil || report.Rows["stored_completions"] != 1 {
		t.Errorf("erased %v, %v", report.Rows, err)
	}
	if n := w.count(`SELECT count(*) FROM stored_completions`); n != 0 {
		t.Errorf("%d completions outlive an erasure", n)
	}
}

// TestStoredPages walks the list in pages of every size, both ways and filtered: each completion comes once and in order, also those
// of one moment.
func TestStoredPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, secret := w.key("acme")
	_, err := w.pool.Exec(t.Context(), `
		INSERT INTO stored_completions (id, customer_id, key_id, created_at, model, model_version, body, messages, metadata)
		SELECT 'chatcmpl-' || lpad(i::text, 3, '0'), $1, $2, '2026-01-01'::timestamptz + (i / 3) * interval '1 second', CASE i % 2 WHEN 0 THEN 'even' ELSE 'odd' END, 'v' || i % 5,
			convert_to('{"id":"chatcmpl-' || lpad(i::text, 3, '0') || '"}', 'UTF8'), '[]', jsonb_build_object('third', (i % 3)::text, 'seventh', (i % 7)::text)
		FROM generate_series(1, 50) i`, k.CustomerID, k.ID)
	w.must(err)
	b := w.withKey(secret)
	for query, want := range map[string]func(i int) bool{
		"":                                      func(int) bool { return true },
		"metadata[third]=1":                     func(i int) bool { return i%3 == 1 },
		"metadata[third]=1&metadata[seventh]=2": func(i int) bool { return i%3 == 1 && i%7 == 2 },
		"metadata[third]=9":                     func(int) bool { return false },
		"metadata[fourth]=1":                    func(int) bool { return false },
		"model=even":                            func(i int) bool { return i%2 == 0 },
		"model=v3":                              func(i int) bool { return i%5 == 3 },
		"model=odd&metadata[third]=0":           func(i int) bool { return i%2 == 1 && i%3 == 0 },
	} {
		for _, order := range []string{"asc", "desc"} {
			for _, limit := range []int{1, 7, 49, 50, 51} {
				var seen, expected []string
				after := ""
				for range 60 {
					var page openai.StoredList
					b.get(fmt.Sprintf("/v1/chat/completions?%s&order=%s&limit=%d&after=%s", strings.NewReplacer("[", "%5B", "]", "%5D").Replace(query), order, limit, url.QueryEscape(after))).want(t, http.StatusOK).into(t, &page)
					for _, c := range page.Data {
						seen = append(seen, c.ID)
					}
					if !page.HasMore {
						break
					}
					if len(page.Data) != limit {
						t.Fatalf("%s: a page of %d where more follow", query, len(page.Data))
					}
					after = *page.LastID
				}
				for i := 1; i <= 50; i++ {
					if want(i) {
						expected = append(expected, fmt.Sprintf("chatcmpl-%03d", i))
					}
				}
				if order == "desc" {
					slices.Reverse(expected)
				}
				if !slices.Equal(seen, expected) {
					t.Errorf("%s %s %d: %v, want %v", query, order, limit, seen, expected)
				}
			}
		}
	}
}

// TestStoredSDK does with OpenAI's own client what its documentation shows.
func TestStoredSDK(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme")
	ctx := t.Context()
	client := sdk.NewClient(option.WithBaseURL(w.http.URL+"/v1"), option.WithAPIKey(secret), option.WithMaxRetries(0))
	var ids []string
	for i := range 5 {
		c, err := client.Chat.Completions.New(ctx, sdk.ChatCompletionNewParams{Model: "default", Store: sdk.Bool(true), MaxCompletionTokens: sdk.Int(3), Metadata: types.Metadata{"parity": fmt.Sprint(i % 2)},
			Messages: []sdk.ChatCompletionMessageParamUnion{sdk.SystemMessage("Be kind."), sdk.UserMessage(fmt.Sprint("Question ", i))}})
		w.must(err)
		ids = append(ids, c.ID)
	}
	var found []string
	pages := client.Chat.Completions.ListAutoPaging(ctx, sdk.ChatCompletionListParams{Limit: sdk.Int(2), Metadata: types.Metadata{"parity": "0"}, Model: sdk.String(w.version.Name)})
	for pages.Next() {
		found = append(found, pages.Current().ID)
	}
	if w.must(pages.Err()); !slices.Equal(found, []string{ids[0], ids[2], ids[4]}) {
		t.Errorf("found %v of %v", found, ids)
	}
	one, err := client.Chat.Completions.Get(ctx, ids[1])
	w.must(err)
	if one.ID != ids[1] || one.Choices[0].Message.Role != "assistant" || one.Usage.TotalTokens == 0 {
		t.Errorf("%+v", one)
	}
	var said []string
	messages := client.Chat.Completions.Messages.ListAutoPaging(ctx, ids[1], sdk.ChatCompletionMessageListParams{Limit: sdk.Int(1)})
	for messages.Next() {
		said = append(said, messages.Current().ID+" "+messages.Current().Content)
	}
	if w.must(messages.Err()); !slices.Equal(said, []string{ids[1] + "-0 Be kind.", ids[1] + "-1 Question 1"}) {
		t.Errorf("messages %q", said)
	}
	_, err = client.Chat.Completions.Update(ctx, ids[1], sdk.ChatCompletionUpdateParams{Metadata: types.Metadata{"parity": "0"}})
	w.must(err)
	gone, err := client.Chat.Completions.Delete(ctx, ids[0])
	w.must(err)
	page, err := client.Chat.Completions.List(ctx, sdk.ChatCompletionListParams{Metadata: types.Metadata{"parity": "0"}, Order: "desc"})
	w.must(err)
	if !gone.Deleted || gone.ID != ids[0] || len(page.Data) != 3 || page.Data[2].ID != ids[1] || page.HasMore {
		t.Errorf("after the change and the deletion: %+v %+v", gone, page.Data)
	}
	_, err = client.Chat.Completions.Get(ctx, ids[0])
	var e *sdk.Error
	if !errors.As(err, &e) || e.StatusCode != 404 || e.Code != "not_found" {
		t.Errorf("a deleted one: %v", err)
	}
}
