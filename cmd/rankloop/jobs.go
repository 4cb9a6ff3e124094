package main

import (
	"context"
	"fmt"
	"net/http"

	"riverqueue.com/riverui"
)

// jobsUI makes the job queue's own pages, which read until ctx ends. They know nobody: web lets in admins only. Arguments of jobs are
// ids; what people wrote is in none.
func (a *app) jobsUI(ctx context.Context) (http.Handler, error) {
	h, err := riverui.NewHandler(&riverui.HandlerOpts{Endpoints: riverui.NewEndpoints(a.client, nil), Logger: a.log, Prefix: "/admin/jobs"})
	if err == nil {
		err = h.Start(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("pages of the job queue: %w", err)
	}
	return h, nil
}
