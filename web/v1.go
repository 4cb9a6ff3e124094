package web

import (
	"errors"
	"net/http"

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
	s.route(keys, get, "/v1/chat/completions", s.rated(s.listStored))
	s.route(keys, get, "/v1/chat/completions/:id", s.rated(s.getStored))
	s.route(keys, post, "/v1/chat/completions/:id", s.rated(s.noteStored))
	s.route(keys, http.MethodDelete, "/v1/chat/completions/:id", s.rated(s.deleteStored))
	s.route(keys, get, "/v1/chat/completions/:id/messages", s.rated(s.storedMessages))
	s.stream(keys, post, "/v1/completions", s.rated(s.completions))
	s.stream(keys, post, "/v1/chat/completions", s.rated(s.chatCompletions))
	s.scoped(anyScope, get, "/api/v1/usage", s.rated(s.keyUsage))
	s.scoped(anyScope, get, "/api/v1/usage.csv", s.rated(s.keyUsageCSV))
	s.scoped(account.ScopeReward, post, rewardPath, s.rated(s.scoreRewards))
	s.streams[post+" "+rewardPath] = true
	s.route(docs, get, "/api/v1/openapi.json", s.openAPI)
}

func unknownURL(c *gin.Context) error {
	return openai.UnknownURL(methodName(c.Request.Method), c.Request.URL.EscapedPath())
}

func wrongMethodOpenAI(c *gin.Context) error {
	return openai.MethodNotAllowed(methodName(c.Request.Method))
}

// served returns the policy under the name that somebody's request gave; the caller releases it. Who names a version gets that one,
// whatever canary is under way.
func (s *server) served(name, somebody string) (*Served, Counted, error) {
	if name == defaultModel {
		return s.Serving.AcquireFor(somebody)
	}
	v, err := s.Serving.AcquireVersion(name)
	if errors.Is(err, ErrNotServed) {
		err = openai.ModelNotFound(name)
	}
	return v, Counted{}, err
}

// somebody is who is answered by the same version while a canary is under way: the key, or its user where the request names one.
func somebody(k account.Key, endUser string) string {
	if endUser == "" {
		return "key " + k.ID
	}
	return "key " + k.ID + " user " + endUser
}

func clipRunes(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

func (s *server) listModels(c *gin.Context) {
	list := s.Serving.Versions()
	if len(list) == 0 {
		s.fail(c, ErrNotServing)
		return
	}
	out := []openai.Model{openai.NewModel(defaultModel, list[0].Created.Unix())}
	for _, v := range list {
		out = append(out, openai.NewModel(v.Name, v.Created.Unix()), openai.NewModel(v.ID, v.Created.Unix()))
	}
	c.JSON(http.StatusOK, openai.ModelList{Object: "list", Data: out})
}

func (s *server) oneModel(c *gin.Context) {
	name, err := textParam(c.Param("model"))
	if err != nil {
		s.fail(c, err)
		return
	}
	v, _, err := s.served(name, somebody(c.MustGet(apiKey).(account.Key), ""))
	if err != nil {
		s.fail(c, err)
		return
	}
	defer v.Release()
	c.JSON(http.StatusOK, openai.NewModel(name, v.Created.Unix()))
}
