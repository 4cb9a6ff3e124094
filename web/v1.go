package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
)

// defaultModel is the name that always means the policy that serves.
const defaultModel = "default"

// versionHeader names the model version behind an answer.
const versionHeader = "Rankloop-Model-Version"

func (s *server) apiRoutes() {
	s.route(keys, get, "/v1/models", s.rated(s.listModels))
	s.route(keys, get, "/v1/models/:model", s.rated(s.oneModel))
	s.stream(keys, post, "/v1/completions", s.rated(s.completions))
	s.stream(keys, post, "/v1/chat/completions", s.rated(s.chatCompletions))
	s.route(keys, get, "/api/v1/usage", s.rated(s.keyUsage))
	s.stream(keys, post, rewardPath, s.rated(s.scoreRewards))
	s.route(docs, get, "/api/v1/openapi.json", s.openAPI)
}

func unknownURL(c *gin.Context) error {
	return openai.UnknownURL(methodName(c.Request.Method), c.Request.URL.EscapedPath())
}

func wrongMethodOpenAI(c *gin.Context) error {
	return openai.MethodNotAllowed(methodName(c.Request.Method))
}

// rated counts a request against its key's limit before any work is done, and says in headers what is left.
func (s *server) rated(next gin.HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		k := c.MustGet(apiKey).(account.Key)
		ok, remaining, reset, wait := s.api.take(k.ID, k.RPM)
		c.Header("X-Ratelimit-Limit-Requests", strconv.Itoa(k.RPM))
		c.Header("X-Ratelimit-Remaining-Requests", strconv.Itoa(remaining))
		c.Header("X-Ratelimit-Reset-Requests", reset.Round(time.Millisecond).String())
		if !ok {
			p := status(http.StatusTooManyRequests, "Rate limit reached for this key: "+strconv.Itoa(k.RPM)+" requests per minute. Please try again in "+wait.Round(time.Millisecond).String()+".")
			p.Retry = wait
			s.fail(c, p)
			return
		}
		next(c)
	}
}

// served returns the policy under the name that a request gave; the caller releases it.
func (s *server) served(name string) (*Served, error) {
	v, err := s.Serving.Acquire()
	if err != nil {
		return nil, err
	}
	if name != defaultModel && name != v.Name && name != v.VersionID {
		v.Release()
		return nil, openai.ModelNotFound(clipRunes(name, 100))
	}
	return v, nil
}

func clipRunes(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

func (s *server) listModels(c *gin.Context) {
	v, err := s.Serving.Acquire()
	if err != nil {
		s.fail(c, err)
		return
	}
	defer v.Release()
	at := v.Created.Unix()
	c.JSON(http.StatusOK, openai.ModelList{Object: "list", Data: []openai.Model{openai.NewModel(defaultModel, at), openai.NewModel(v.Name, at)}})
}

func (s *server) oneModel(c *gin.Context) {
	name, err := textParam(c.Param("model"))
	if err != nil {
		s.fail(c, err)
		return
	}
	v, err := s.served(name)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer v.Release()
	c.JSON(http.StatusOK, openai.NewModel(name, v.Created.Unix()))
}

type usageDay struct {
	Day              string `json:"day"`
	Model            string `json:"model_version"`
	Requests         int64  `json:"requests"`
	PromptTokens     int64  `json:"prompt_tokens"`
	CompletionTokens int64  `json:"completion_tokens"`
}

// keyUsage is what the asking key used in the last 30 days.
func (s *server) keyUsage(c *gin.Context) {
	k := c.MustGet(apiKey).(account.Key)
	days, err := s.Accounts.UsageByDay(c.Request.Context(), k.CustomerID, time.Now().AddDate(0, 0, -30))
	if err != nil {
		s.fail(c, err)
		return
	}
	out := []usageDay{}
	for _, d := range days {
		if d.KeyID == k.ID {
			out = append(out, usageDay{d.Day.UTC().Format(time.DateOnly), d.ModelVersion, d.Requests, d.PromptTokens, d.CompletionTokens})
		}
	}
	c.JSON(http.StatusOK, gin.H{"usage": out})
}
