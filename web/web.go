package web

import (
	"log/slog"
	"net/http"
	"time"
)

// New builds the handler of all pages and APIs. It starts nothing.
func New(c Config, d Deps) (http.Handler, error) {
	if err := d.validate(); err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.Default()
	}
	h, _, err := build(c, d)
	return h, err
}

// NewServer wraps the handler with the time limits that a server on a network needs. There is no write timeout: each
// handler sets its own deadline, since streams may be long.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
}
