package labeling

import (
	"time"
)

// Splits of the data. A customer's prompts all lie in the same one.
const (
	Train = "train"
	Valid = "valid"
	Test  = "test"
)

// Origins of a prompt.
const (
	OriginAPI     = "api"     // sent by a customer, by an API key or at the chat page; used only with consent
	OriginImport  = "import"  // read from a file by an admin
	OriginLabeler = "labeler" // written by a labeler
)

// Who judges in a project in which two models are compared.
const (
	CompareLabelers = "labelers" // whoever labels: it is offered as any project is
	CompareRoom     = "room"     // who has its address
)

// Limits of the room.
const (
	MinAnswers = 2
	MaxAnswers = 9
	// MaxLeases is how many tasks one labeler may hold at once in a project
	// (the one on screen, one prefetched, a few further tabs).
	MaxLeases = 16
)

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // system | user | assistant
	Content string `json:"content"`
}

// Project is one body of labeling work with one guideline.
type Project struct {
	ID           string
	Name         string // unique
	Question     string // question type, one of QuestionNames
	Instructions string // the guideline's newest version, markdown
	Guideline    int    // version of Instructions, from 1
	K            int    // answers a task should have, within what the question allows
	Overlap      int    // labelers a task should have, >= 1
	PromptCap    int    // prompts one customer may bring (InstructGPT: 200)
	ValidShare   float64
	TestShare    float64
	Lease        time.Duration // how long a claimed task is held without a sign of life
	Languages    []string      // BCP 47, of prompts and answers; none = any
	Closed       bool          // not offered to labelers
	Comparison   string        // CompareLabelers or CompareRoom where people compare two models here, else ""
	CreatedAt    time.Time
}

// NewPrompt is what AddPrompt takes. Either Messages or Text or both are set; with
// both, Text is the rendered form that was fed to the model.
type NewPrompt struct {
	ProjectID       string
	Messages        []Message
	Text            string
	TokenIDs        []int32 // the ids that were fed to the model, if any
	TokenizerDigest string  // required with TokenIDs
	Origin          string
	CustomerID      string // "" = none
	APIKeyID        string // "" = none
	Consent         bool   // the customer allows training (asked of OriginAPI only)
	Split           string // "" = chosen here
	Kind            string // how a labeler wrote it: one of PromptKinds, "" for other origins
	Language        string // BCP 47, "" = not known
	CompletionID    string // the request that it came with, as the customer knows it; "" = none
	EndUser         string // the customer's own user, as the customer names it; "" = not said
	ModelVersion    string // that answered the request
	Wanted          bool   // taken though another begins alike: the customer says something of it
}

// Prompt is one deduplicated prompt of a project.
type Prompt struct {
	ID              string
	ProjectID       string
	Messages        []Message // never empty: a prompt that came as text is one user message
	Text            string
	TokenIDs        []int32
	TokenizerDigest string
	Origin          string
	CustomerID      *string
	APIKeyID        *string
	Consent         bool
	Split           string
	Kind            string
	Language        string
	Usable          bool // may be labeled and trained on now
	CreatedAt       time.Time
}

// NewResponse is one answer offered for ranking. Text may be any bytes: a
// byte-level decoder emits NUL and cut UTF-8.
type NewResponse struct {
	Text            string
	TokenIDs        []int32
	TokenizerDigest string
	ModelVersion    string
	Finish          string // stop | length | "" where unknown
}

// Response is a stored answer. TokenIDs with TokenizerDigest are the truth of what
// was sampled; Text is the view of it that Postgres and people can read.
type Response struct {
	ID              string
	PromptID        string
	Text            string
	Raw             []byte // the exact bytes where Text differs from them, else nil
	TokenIDs        []int32
	TokenizerDigest string
	ModelVersion    string
	Finish          string
}

// Task asks Need labelers the project's question about the same K responses.
type Task struct {
	ID          string
	ProjectID   string
	PromptID    string
	ResponseIDs []string
	Need        int
	OpenSlots   int
	Done        int
	Batch       string // the round this task belongs to, "" = none
	CreatedAt   time.Time
}

// States of an assignment.
const (
	Leased    = "leased"
	Submitted = "submitted"
	Reopened  = "reopened" // submitted, being edited; the ranking stands until the next revision
	Skipped   = "skipped"
	Released  = "released" // given back; may be served to the labeler again
	Expired   = "expired"  // lease ran out; may be served to the labeler again
)

// Answer is what a labeler may know of a response: a letter and its text.
type Answer struct {
	Key  string `json:"key"` // "A", "B", ... in the order shown
	Text string `json:"text"`
}

// Assignment is a task held by a labeler, as the labeler sees it.
type Assignment struct {
	ID           string
	TaskID       string
	ProjectID    string
	LabelerID    string
	State        string
	LeaseUntil   time.Time
	Order        []int // Order[d] = stored position of the response shown at d
	Messages     []Message
	Answers      []Answer // in the order shown
	Question     string
	Language     string // of the prompt, BCP 47; "" = not known
	Instructions string
	Guideline    int    // version of Instructions
	Unread       bool   // the labeler has read an older version only: Acknowledge is due
	Draft        *Draft // nil = none
	ClaimedAt    time.Time
	Warning      []string // what others said of the task, as a flag or as their reason to skip it, for which a page asks before it shows it; one that was reported is served only after a reviewer released it
	Done         int      // tasks of the project that this labeler has ranked
}

// Draft is unfinished work, in the order shown. Ranks of 0 mean unranked.
type Draft struct {
	Ranks    []int      `json:"ranks"`
	Ratings  []int      `json:"ratings,omitempty"` // 0 = unrated
	Flags    [][]string `json:"flags,omitempty"`
	Comment  string     `json:"comment,omitempty"`
	Focus    int        `json:"focus,omitempty"`
	Text     string     `json:"text,omitempty"`
	Strength int        `json:"strength,omitempty"`
}

// SubmitInput is finished work on a task. Ranks, Ratings and Flags are in the order
// shown; Ratings and Flags may be nil. What else is wanted, or refused, is the question's.
type SubmitInput struct {
	AssignmentID   string
	LabelerID      string
	Ranks          []int
	Ratings        []int // 1..7, 0 = unrated
	Flags          [][]string
	Comment        string
	Text           string `json:",omitempty"` // an edited answer, or a demonstration
	Strength       int    `json:",omitempty"` // of a pairwise preference, 1..4; 0 for a tie
	IdempotencyKey string // required; unique for the labeler
	ActiveMS       int64
	WallMS         int64
}

// Ranking is one revision of one labeler's answer to one task. A text of the labeler's
// own that competes with the answers is the last of the ranks, and goes by ID.
type Ranking struct {
	ID           string
	TaskID       string
	ProjectID    string
	AssignmentID string
	LabelerID    string
	Revision     int
	Ranks        []int    // competition ranks, in the order of ResponseIDs
	ResponseIDs  []string // the task's own order, then ID if Text competes
	Text         string   // what the labeler wrote, or ""
	Strength     int      // of a pairwise preference, 1..4; 0 for a tie or where it was not asked
	Surplus      bool     // came after the lease's end when no slot was open
	Guideline    int
	Batch        string
	CreatedAt    time.Time
}

// Comparison is one strict pair of a ranking; ties have none.
type Comparison struct {
	RankingID string
	WinnerID  string // response, or RankingID for the text that the labeler wrote
	LoserID   string // response, or RankingID
}

// Progress is a labeler's own view of a project.
type Progress struct {
	Done     int   // tasks submitted
	Skipped  int   // tasks skipped
	ActiveMS int64 // time at work
	Open     int   // tasks with an open slot, counted to OpenLimit and no further
}

// OpenLimit is where Progress.Open stops counting.
const OpenLimit = 1000

// BatchCounts are the counters of one batch.
type BatchCounts struct {
	Tasks    int // tasks in the batch that are not hidden or held
	Complete int // of these, tasks with all their rankings
	Need     int // rankings asked for
	Done     int // rankings in, without surplus
	Leased   int // being worked on
	Open     int // slots nobody holds
}

// SnapshotFilter chooses the rankings of a snapshot. Rankings of hidden or
// unconsented prompts, of held tasks and surplus ones are never in.
type SnapshotFilter struct {
	Name    string   `json:"name,omitempty"` // shown in errors; "" = named by number
	Batches []string `json:"batches,omitempty"`
	Splits  []string `json:"splits,omitempty"`

	Without []Subject `json:"without,omitempty"` // whose rankings, or of whose prompts, are left out
}

// Snapshot is an immutable set of rankings.
type Snapshot struct {
	ID        string
	ProjectID string
	Name      string
	Hash      string // sha256 of the items' canonical JSON, hex
	N         int    // rankings
	Prompts   int    // items (tasks)
	CreatedAt time.Time
	Erased    int // rankings that erasures took out of it since; then it has no longer its hash
}

// RankedCompletion is one response of a RankedPrompt.
type RankedCompletion struct {
	ResponseID      string  `json:"response_id,omitempty"`
	Text            string  `json:"text"`
	TokenIDs        []int32 `json:"token_ids,omitempty"`
	TokenizerDigest string  `json:"tokenizer,omitempty"`
	ModelVersion    string  `json:"model_version,omitempty"`
	Finish          string  `json:"finish,omitempty"`
}

// LabelerRanking is one labeler's ranks of a RankedPrompt's completions, in their order.
type LabelerRanking struct {
	RankingID string `json:"ranking_id,omitempty"`
	LabelerID string `json:"labeler"`
	Ranks     []int  `json:"ranks"`
	Strength  int    `json:"strength,omitempty"` // of a pairwise preference, 1..4
	Ratings   []int  `json:"ratings,omitempty"`  // of a single answer, 1..7
}

// RankedPrompt is one task of a snapshot: a prompt, its completions, and every
// labeler's ranking of them. The reward loss takes it as one batch element. Where
// labelers wrote texts of their own, each has a RankedPrompt to itself, with that text
// as the last completion. One completion alone (a rating, a demonstration) compares
// nothing.
type RankedPrompt struct {
	TaskID          string             `json:"task_id,omitempty"`
	PromptID        string             `json:"prompt_id,omitempty"`
	Prompt          string             `json:"prompt"`
	Messages        []Message          `json:"messages,omitempty"`
	PromptIDs       []int32            `json:"prompt_ids,omitempty"`
	TokenizerDigest string             `json:"prompt_tokenizer,omitempty"` // of PromptIDs
	CustomerID      string             `json:"customer,omitempty"`
	Split           string             `json:"split,omitempty"`
	Completions     []RankedCompletion `json:"completions"`
	Rankings        []LabelerRanking   `json:"rankings"`
}

// Agreement says how far labelers agree with each other on the tasks that more
// than one of them ranked. All fields but N are 0 where Pairs is 0.
type Agreement struct {
	Pairwise float64    // share of answer pairs that both labelers order, on which they agree
	CI       [2]float64 // 95%, Wilson score with the sample size corrected for clustering by task
	WithTies float64    // the same over all answer pairs: 1 equal (also both tied), 1/2 one tied, 0 opposite
	Alpha    float64    // Krippendorff's alpha, ordinal, on the ranks; unit = answer
	Tau      float64    // Kendall's tau-b, mean over labeler pairs of a task
	N        int        // rankings looked at
	Tasks    int        // tasks with two or more
	Pairs    int        // answer pairs that two labelers both order strictly
}
