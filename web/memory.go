package web

import (
	"context"
	"fmt"
	"net/http"

	"github.com/rankloop/rankloop/model/registry"
)

// Memory is what this process may still give to policies.
type Memory interface {
	// Free is how many bytes that is; false where nobody knows.
	Free() (bytes int64, known bool)
	// Room refuses, with a *NoRoomError, a version that takes more.
	Room(ctx context.Context, v registry.Version) error
}

// NoRoomError says that a policy does not fit beside those that are loaded.
type NoRoomError struct {
	Name        string
	Weights, KV int64 // bytes that it takes; KV at most
	Free        int64 // bytes that there are
	Limit       int64 // of these and all that is loaded, set by the operator; 0: the machine's
}

const gigabyte = 1e9

func (e *NoRoomError) Error() string { return e.problem().Detail }

func (e *NoRoomError) problem() *problem {
	gb := func(n int64) float64 { return float64(n) / gigabyte }
	if e.Limit > 0 {
		return status(http.StatusConflict, fmt.Sprintf("%s takes up to %.3g GB of memory beside what serves (weights %.3g GB, keys and values %.3g GB), and %.3g GB are left of the %.3g GB that 'rankloop serve --memory' allows: allow more, or start the server with a smaller --kv-cache, --keep-former 0 or --weights bf16",
			e.Name, gb(e.Weights+e.KV), gb(e.Weights), gb(e.KV), gb(e.Free), gb(e.Limit)))
	}
	return status(http.StatusConflict, fmt.Sprintf("%s takes up to %.3g GB of memory beside what serves (weights %.3g GB, keys and values %.3g GB), and %.3g GB are free on this machine: start the server with a smaller --kv-cache, --keep-former 0 or --weights bf16",
		e.Name, gb(e.Weights+e.KV), gb(e.Weights), gb(e.KV), gb(e.Free)))
}
