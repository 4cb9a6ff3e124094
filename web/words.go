package web

import (
	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// words name values that the labeling pages show as they are stored.
var words = map[string]sentence{
	labeling.TaskOpen: "open", labeling.TaskWorked: "worked on", labeling.TaskDone: "done", labeling.TaskHeld: "reported", labeling.TaskHidden: "withdrawn",
	labeling.Train: "training", labeling.Valid: "validation", labeling.Test: "test",
	labeling.OriginAPI: "API", labeling.OriginImport: "import", labeling.OriginLabeler: "labeler",
	"system": "System", "user": "User", "assistant": "Assistant",
	"claimed": "claimed", labeling.Leased: "at work", labeling.Submitted: "submitted", "revised": "revised", labeling.Reopened: "reopened",
	labeling.Skipped: "skipped", labeling.Released: "given back", labeling.Expired: "expired",
	string(account.InvitationUsed): "used up", string(account.InvitationRevoked): "revoked", string(account.InvitationWithdrawn): "withdrawn by its maker's role",
}
