package web

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// engineState is what the engine that serves does now, and has done since it took over.
type engineState struct {
	Model   string `json:"model"` // empty: no policy serves, and all else is 0
	Version string `json:"model_version"`

	Running     int   `json:"running"` // choices
	Places      int   `json:"places"`
	Waiting     int   `json:"waiting"`
	QueuePlaces int   `json:"queue_places"`
	KVUsed      int64 `json:"kv_used_bytes"`
	KVKept      int64 `json:"kv_kept_bytes"` // of those used, what no answer under way needs to hold
	KVTotal     int64 `json:"kv_total_bytes"`

	Requests         int64   `json:"requests"`
	Refused          int64   `json:"refused"`
	Cancelled        int64   `json:"cancelled"`
	PromptTokens     int64   `json:"prompt_tokens"`
	CachedTokens     int64   `json:"cached_tokens"` // of prompt_tokens
	CompletionTokens int64   `json:"completion_tokens"`
	BusySeconds      float64 `json:"busy_seconds"`
	At               float64 `json:"at"` // seconds since 1970, for rates
}

func (s *server) engineState() engineState {
	v, err := s.Serving.Acquire()
	if err != nil {
		return engineState{}
	}
	defer v.Release()
	x := v.Engine.Stats()
	return engineState{Model: v.Name, Version: v.VersionID, Running: x.Active, Places: x.Places, Waiting: x.Waiting, QueuePlaces: x.Queue,
		KVUsed: int64(x.PagesUsed) * x.PageBytes, KVKept: int64(x.PagesKept) * x.PageBytes, KVTotal: int64(x.PagesTotal) * x.PageBytes,
		Requests: x.Requests, Refused: x.Refused, Cancelled: x.Cancelled, PromptTokens: x.PromptTokens, CachedTokens: x.CachedTokens,
		CompletionTokens: x.Completions, BusySeconds: x.Busy.Seconds(), At: float64(time.Now().UnixMilli()) / 1000}
}

// MB is a number of bytes in words of the page.
func (engineState) MB(bytes int64) string { return num(float64(bytes) / (1 << 20)) }

// Speed is the tokens that were written in a second of work.
func (e engineState) Speed() float64 { return float64(e.CompletionTokens) / max(e.BusySeconds, 1e-9) }

// CachedShare is the share of prompts that was not read again.
func (e engineState) CachedShare() float64 {
	return float64(e.CachedTokens) / float64(max(e.PromptTokens, 1))
}

func (s *server) enginePage(c *gin.Context) {
	s.render(c, http.StatusOK, "engine", view{Title: "The engine", Nav: "models", Data: s.engineState()})
}

func (s *server) engineNow(c *gin.Context) { c.JSON(http.StatusOK, s.engineState()) }
