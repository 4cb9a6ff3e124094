package web

import (
	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// words name values that the labeling pages show as they are stored.
var words = map[string]sentence{
	labeling.TaskOpen: "open", labeling.TaskWorked: "worked on", labeling.TaskDone: "done", labeling.TaskHeld: "reported", labeling.TaskHidden: "withdrawn",
	labeling.Train: "training", labeling.Valid: "validation", labeling.Test: "test",
	labeling.KindPlain: "plain prompt", labeling.KindFewShot: "few-shot prompt", labeling.KindUserBased: "use-case prompt",
	labeling.OriginAPI: "API", labeling.OriginImport: "import", labeling.OriginLabeler: "labeler",
	"system": "System", "user": "User", "assistant": "Assistant",
	"claimed": "claimed", labeling.Leased: "at work", labeling.Submitted: "submitted", "revised": "revised", labeling.Reopened: "reopened",
	labeling.Skipped: "skipped", labeling.Released: "given back", labeling.Expired: "expired",
	"reading": "reading", "settling": "settling", "failed": "failed", "waiting": "waiting", "delivered": "delivered",
	loop.FromCost: "the cost model and this machine's speed", loop.FromRounds: "former rounds", loop.FromPeople: "people's pace in former rounds", loop.FromNowhere: "not known: people do it",
	labeling.FlagPII: "personal data", labeling.FlagUnsafe: "unsafe to show", "other": "another reason",
	string(account.InvitationUsed): "used up", string(account.InvitationRevoked): "revoked", string(account.InvitationWithdrawn): "withdrawn by its maker's role",
}

// piiNames are the kinds of personal data that are looked for.
var piiNames = map[string]sentence{
	labeling.PIIEmail: "e-mail address", labeling.PIIPhone: "phone number", labeling.PIICard: "payment card", labeling.PIIIBAN: "bank account (IBAN)",
	labeling.PIIIP: "IP address", labeling.PIINationalID: "national identity number", labeling.PIIAddress: "street address", labeling.PIIName: "name of a person",
	labeling.PIISecret: "key or password",
}

// faultNames say what a labeler is suspected of.
var faultNames = map[string]sentence{
	"random": "ranks by chance", "careless": "ranks carelessly", "reversed": "ranks the wrong way round", "length": "ranks by length",
	"brevity": "ranks by brevity", "places": "ranks by place",
}

// scopeNames say what a key may be used for.
var scopeNames = map[string]sentence{
	account.ScopeCompletions: "Answers, and those that were stored (/v1)", account.ScopeFeedback: "Feedback on answers", account.ScopeReward: "Scores of the reward model (/api/v1/reward)",
}

// keyStates say whether a key works.
var keyStates = map[account.KeyState]sentence{
	account.KeyLive: "live", account.KeyEnding: "works on for a while", account.KeyExpired: "expired", account.KeyRevoked: "revoked",
}

// tableNames are what a report of an erasure counts; a table that is not named here is shown by its own name.
var tableNames = map[string]sentence{
	"prompts": "Prompts", "responses": "Answers", "tasks": "Tasks", "assignments": "Tasks in hand or done", "rankings": "Rankings", "comparisons": "Comparisons",
	"ratings": "Ratings", "demonstrations": "Demonstrations", "snapshot_items": "Rankings in snapshots", "redactions": "Redactions", "reports": "Reports",
	"feedback": "Feedback", "kept_completions": "Answers kept for feedback", "stored_completions": "Stored completions", "prompt_sources": "Origins of prompts",
	"conversations": "Chat conversations", "conversation_turns": "Turns of conversations", "gold": "Gold tasks", "adjudications": "Decisions of reviewers",
	"qualifications": "Qualification tests", "qualification_answers": "Answers of qualification tests", "guideline_acks": "Instructions that were read",
}
