package web

import (
	"context"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// roomErrors is every error that the rooms export, with the status it must become.
var roomErrors = map[error]int{
	account.ErrNotFound: 404, account.ErrConflict: 409, account.ErrDenied: 401, account.ErrBusy: 503,
	&account.InvalidError{Field: "x", Reason: "y"}: 400, &account.LimitError{}: 429,
	labeling.ErrNotFound: 404, labeling.ErrConflict: 409, labeling.ErrTooManyLeases: 409, &labeling.FrozenError{}: 409, &labeling.InvalidError{}: 400,
	fmt.Errorf("submit: %w", labeling.ErrConflict): 409,
	loop.ErrNotFound: 404, loop.ErrConflict: 409, &loop.InvalidError{}: 400,
	registry.ErrNotFound: 404, registry.ErrConflict: 409, &registry.InvalidError{}: 400,
	run.ErrNotFound: 404, run.ErrConflict: 409, &run.InvalidError{}: 400,
	decode.ErrBusy: 503, decode.ErrMemory: 503, decode.ErrClosed: 503, ErrNotServing: 503, registry.ErrCanaryOpen: 409, registry.ErrCanaryEnded: 409, &model.InvalidError{}: 400,
	context.DeadlineExceeded: 503, &http.MaxBytesError{Limit: 5}: 413,
	&pgconn.PgError{Code: "57P01"}: 503, &pgconn.PgError{Code: "25006"}: 503, &pgconn.PgError{Code: "53100"}: 503, &pgconn.PgError{Code: "57014"}: 503,
}
