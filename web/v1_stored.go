package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
	"github.com/rankloop/rankloop/web/stored"
)

// store notes what is to be kept of an answer, where the request asked for it.
func (j *job) store(c *gin.Context, r *openai.ChatRequest, answer openai.Chat) {
	if j.key.ID == "" || !openai.Value(r.Store, false) {
		return
	}
	seed := int64(j.params.Seed)
	kept := openai.StoredChat{Chat: answer, RequestID: requestID(c.Request), Seed: &seed, Temperature: j.params.Temperature, TopP: j.params.TopP,
		PresencePenalty: j.params.PresencePenalty, FrequencyPenalty: j.params.FrequencyPenalty, ServiceTier: "default"}
	if r.User != "" {
		kept.InputUser = &r.User
	}
	j.keep = &stored.Completion{ID: answer.ID, CustomerID: j.userID, KeyID: j.key.ID, Model: j.Name, ModelVersion: j.VersionID,
		Body: marshal(kept), Messages: marshal(r.Messages), Metadata: r.Metadata, User: r.User}
}

// marshal is for types that always have a JSON form.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// shown is a stored completion as its customer sees it.
func shown(k stored.Completion) (out openai.StoredChat, err error) {
	if err = json.Unmarshal(k.Body, &out); err != nil {
		return out, fmt.Errorf("stored completion %s: %w", k.ID, err)
	}
	out.Metadata = k.Metadata
	return out, nil
}

// storedError names the completion that was not found.
func storedError(err error, id string) error {
	if errors.Is(err, stored.ErrNotFound) {
		return openai.NotFound("Chat completion", id)
	}
	return err
}

func customer(c *gin.Context) string { return c.MustGet(apiKey).(account.Key).CustomerID }

// storedID is the id in the path.
func storedID(c *gin.Context) (string, error) {
	id, err := textParam(c.Param("id"))
	if err != nil {
		return "", openai.NotFound("Chat completion", "")
	}
	return id, nil
}

func (s *server) listStored(c *gin.Context) {
	p, e := openai.ParsePage(c.Request.URL.Query())
	if e != nil {
		s.fail(c, e)
		return
	}
	list, more, err := s.Stored.List(c.Request.Context(), stored.Query{CustomerID: customer(c), After: p.After, Newest: p.Newest, Model: p.Model, Metadata: p.Metadata, Limit: p.Limit})
	if errors.Is(err, stored.ErrNotFound) {
		err = openai.Invalid("after", "invalid_value", "Invalid 'after': there is no stored chat completion '%s'.", clipRunes(p.After, 100))
	}
	var out []openai.StoredChat
	for _, k := range list {
		var one openai.StoredChat
		if one, err = shown(k); err != nil {
			break
		}
		out = append(out, one)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, openai.NewList(out, more, func(k openai.StoredChat) string { return k.ID }))
}

// withStored answers with what comes of a stored completion.
func (s *server) withStored(c *gin.Context, act func(customerID, id string) (any, error)) {
	id, err := storedID(c)
	var out any
	if err == nil {
		out, err = act(customer(c), id)
	}
	if err != nil {
		s.fail(c, storedError(err, id))
		return
	}
	c.JSON(http.StatusOK, out)
}

func (s *server) getStored(c *gin.Context) {
	s.withStored(c, func(customerID, id string) (any, error) {
		k, err := s.Stored.Get(c.Request.Context(), customerID, id)
		if err != nil {
			return nil, err
		}
		return shown(k)
	})
}

// noteStored replaces the metadata.
func (s *server) noteStored(c *gin.Context) {
	s.withStored(c, func(customerID, id string) (any, error) {
		body, err := checkedBody(c)
		if err != nil {
			return nil, err
		}
		m, e := openai.ParseUpdate(body)
		if e != nil {
			return nil, e
		}
		k, err := s.Stored.Note(c.Request.Context(), customerID, id, m)
		if err != nil {
			return nil, err
		}
		return shown(k)
	})
}

func (s *server) storedMessages(c *gin.Context) {
	s.withStored(c, func(customerID, id string) (any, error) {
		p, e := openai.ParsePage(c.Request.URL.Query())
		if e != nil {
			return nil, e
		}
		k, err := s.Stored.Get(c.Request.Context(), customerID, id)
		if err != nil {
			return nil, err
		}
		var asked []openai.ChatMessage
		if err := json.Unmarshal(k.Messages, &asked); err != nil {
			return nil, fmt.Errorf("stored completion %s: %w", id, err)
		}
		page, e := openai.PageOf(openai.Messages(id, asked), p)
		if e != nil {
			return nil, e
		}
		return page, nil
	})
}

func (s *server) deleteStored(c *gin.Context) {
	s.withStored(c, func(customerID, id string) (any, error) {
		if err := s.Stored.Delete(c.Request.Context(), customerID, id); err != nil {
			return nil, err
		}
		return openai.Deleted{Object: "chat.completion.deleted", ID: id, Deleted: true}, nil
	})
}
