package web

import (
	"net/http"
)

func newServer(Config, Deps) (http.Handler, error) { return http.NotFoundHandler(), nil }
