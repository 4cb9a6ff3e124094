package simulate

import (
	"context"
	"errors"
	"net/http"
)

// Client labels for one Labeler over HTTP: it signs in, claims a task, ranks its answers by the world's gold score
// and submits, as the page at /label does for a person.
type Client struct {
	// BaseURL is the server's root, for example http://127.0.0.1:8080.
	BaseURL string
	Labeler Labeler
	World   World
	// HTTP may be nil: then a client with its own cookie jar and a 30 s timeout is made.
	HTTP *http.Client
}

// Run labels up to n tasks (n <= 0: as many as there are) and returns how many rankings were acknowledged. It ends
// early without an error when the server has no task left.
func (c *Client) Run(ctx context.Context, n int) (done int, err error) {
	return 0, errors.New("simulate: client is not ready")
}
