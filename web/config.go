package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/audit"
	"github.com/rankloop/rankloop/web/conversation"
	"github.com/rankloop/rankloop/web/health"
	"github.com/rankloop/rankloop/web/oidc"
	"github.com/rankloop/rankloop/web/setting"
	"github.com/rankloop/rankloop/web/stored"
)

// Config is how the server behaves; zero values mean the defaults.
type Config struct {
	HTTPS           bool          // people reach it by https (a proxy ends TLS): Secure cookies and HSTS
	TrustedProxies  []string      // addresses or networks whose X-Forwarded-For is believed; none
	LabelsPerMinute int           // rankings and skips of one person, where no admin has set another number; 60
	MaxTokens       int           // most tokens of one answer, likewise; 512
	RequestTimeout  time.Duration // of anything but a stream; 30 s
	Components      bool          // admins see /dev/components, the parts of the design system
	Version         string        // of the program, shown in the footer
}

func (c Config) withDefaults() Config {
	if c.LabelsPerMinute == 0 {
		c.LabelsPerMinute = 60
	}
	if c.MaxTokens == 0 {
		c.MaxTokens = 512
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 30 * time.Second
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	return c
}

// Deps are the rooms behind the pages.
type Deps struct {
	Accounts      *account.Store
	Conversations *conversation.Store
	Audit         *audit.Store
	Labeling      *labeling.Store
	Registry      *registry.Store
	Settings      *setting.Store
	Stored        *stored.Store
	Runs          *run.Store
	Loop          Loop
	Serving       Serving
	Rewards       Rewards
	Memory        Memory // for a further policy; nil: nobody asks
	ProjectID     string // the project that labelers rank for and rounds belong to

	AfterSubmit AfterSubmit                // runs in the transaction of each ranking; may be nil
	Awaited     func(context.Context) bool // whether AfterSubmit may have anything to do; nil: always
	OnPrompt    OnPrompt                   // runs in the transaction of the usage row, for keys that consent; may be nil

	Providers []*oidc.Provider  // that people may sign in by, beside passwords
	Observe   func(Observation) // hears how requests were answered while a canary is under way, and must not block; may be nil

	Uploads       string                 // folder for files that are to be imported
	WebhookSecret func(id string) string // what a webhook's signatures are checked with
	Erase         Erase
	Consent       Consent

	Health health.Sources              // what /admin/health looks at
	Meter  *Meter                      // what is measured of the API, for /metrics; nil: one of its own
	Tracer trace.Tracer                // of requests; nil: off
	Ping   func(context.Context) error // whether the database answers
	JobsUI http.Handler                // job queue's own pages, shown to admins at /admin/jobs; may be nil
	Log    *slog.Logger                // nil: slog.Default()
}

func (d Deps) validate() error {
	switch {
	case d.Accounts == nil, d.Conversations == nil, d.Audit == nil, d.Labeling == nil, d.Registry == nil, d.Settings == nil, d.Stored == nil, d.Runs == nil:
		return errors.New("web: a room is missing")
	case d.Uploads == "", d.WebhookSecret == nil, d.Erase == nil, d.Consent == nil:
		return errors.New("web: a folder for uploads, secrets of webhooks, erasure and consent are needed")
	case d.Health.Store == nil, d.Health.Audit == nil:
		return errors.New("web: sources of the health page are needed")
	case d.Loop == nil, d.Serving == nil, d.Rewards == nil, d.Ping == nil, d.ProjectID == "":
		return errors.New("web: loop, serving, rewards, ping and project are needed")
	}
	return nil
}

// Consent says whether prompts of a key may be trained on, and hides or shows in the same transaction what came with it before.
type Consent func(ctx context.Context, key account.Key, on bool, actor string) error

// Erase deletes a person from all rooms, or with dry says what that would take.
type Erase func(ctx context.Context, subject labeling.Subject, actor string, dry bool) (labeling.ErasureReport, error)

// Loop is what the pages need of the rounds. actor is "user:<id>".
type Loop interface {
	List(ctx context.Context, projectID string, limit int) ([]loop.Round, error)
	Before(ctx context.Context, projectID string, number, limit int) ([]loop.Round, error) // with lower numbers
	View(ctx context.Context, id string) (loop.Round, error)                               // with its progress counted
	Start(ctx context.Context, projectID, actor string, c loop.Config) (loop.Round, error)
	Cancel(ctx context.Context, id, actor string) error
	Pause(ctx context.Context, id, actor string) error
	Resume(ctx context.Context, id, actor string) error
	Retry(ctx context.Context, id, actor string) error
	Proceed(ctx context.Context, id, actor string) error
	OrderTasks(ctx context.Context, projectID string, prompts int, actor string) error // lets the serving policy answer prompts outside any round
	SampleFeedback(ctx context.Context, tx pgx.Tx, batch string) error                 // has the serving policy answer the prompt of a feedback's task
	Decide(ctx context.Context, id, actor string, promote bool) error
	Override(ctx context.Context, id, actor, reason string) error // goes on although a gate holds
	// Fit says what a round would take, with as much of PPO as the seconds leave room for; 0: all of it.
	Fit(ctx context.Context, projectID string, c loop.Config, seconds float64) (loop.Config, loop.Forecast, error)
	Templates(ctx context.Context, projectID string) ([]loop.Template, error)
	FindTemplate(ctx context.Context, projectID, ref string) (loop.Template, error)
	SaveTemplate(ctx context.Context, t loop.Template, actor string) (loop.Template, error)
	RemoveTemplate(ctx context.Context, projectID, id, actor string) error
	Alarms(ctx context.Context, roundID string, limit int) ([]loop.Alarm, error)
	ResumeAlarm(ctx context.Context, id, actor, reason string, limit *float64) error // goes on with a round that an alarm stopped
	Timeline(ctx context.Context, r loop.Round) ([]loop.StageTime, error)
	SampledPrompts(ctx context.Context, runID string) ([]loop.SampledPrompt, error) // that a policy in training was asked
	Samples(ctx context.Context, runID string, place int) ([]loop.PolicySample, error)
	SampledScores(ctx context.Context, runID string) ([]loop.SampledScores, error)

	PullCord(ctx context.Context, projectID, actor, reason string) error // stops the project's training
	ReleaseCord(ctx context.Context, projectID, actor string) error
	Cords(ctx context.Context) ([]loop.Cord, error) // all that are pulled

	Engines(ctx context.Context) ([]loop.Engine, error) // that answer for labeling beside the policy
	Engine(ctx context.Context, id string) (loop.Engine, error)
	SaveEngine(ctx context.Context, c loop.EngineChange) (loop.Engine, error)
	EnableEngine(ctx context.Context, id, actor string, on bool) error
	RemoveEngine(ctx context.Context, id, actor string) error
	TestEngine(ctx context.Context, id, actor string) (time.Duration, error)

	NewRankings(ctx context.Context, projectID string) (int, error) // since the last round began to learn, up to loop.NewLimit
	Schedules(ctx context.Context, projectID string) ([]loop.Schedule, error)
	AddSchedule(ctx context.Context, s loop.Schedule) (loop.Schedule, error)
	EnableSchedule(ctx context.Context, id, actor string, on bool) error
	RemoveSchedule(ctx context.Context, id, actor string) error

	Comparisons(ctx context.Context, versionID string, limit int) ([]loop.Comparison, error) // of a version, or all
	Comparison(ctx context.Context, id string) (loop.Comparison, error)
	StartComparison(ctx context.Context, n loop.NewComparison) (loop.Comparison, error)
	CompareReport(ctx context.Context, c loop.Comparison) (loop.CompareReport, error) // as it stands
	ComparePairs(ctx context.Context, c loop.Comparison, from, limit int) ([]loop.ComparePair, error)
	LookEarly(ctx context.Context, id, actor string) error
	CloseComparison(ctx context.Context, id, actor string) error
	ReopenComparison(ctx context.Context, id, actor string) error
	SettleComparison(ctx context.Context, id, projectID, actor string) error // judgements become preference data
	DeleteComparison(ctx context.Context, id, actor string) error

	Promote(ctx context.Context, versionID, actor, reason string) error           // lets the version answer customers, or a reward model score for trainers
	Rollback(ctx context.Context, actor, reason string) (registry.Version, error) // lets the former one serve again
	RewardModel(ctx context.Context) (registry.Version, error)                    // scores for outside trainers

	StartCanary(ctx context.Context, versionID, actor, reason string, c registry.CanaryConfig) (registry.Canary, error)
	AdvanceCanary(ctx context.Context, id string, step int, actor, reason string) error // to its next share, or to the promotion
	PauseCanary(ctx context.Context, id, actor, reason string) error
	ResumeCanary(ctx context.Context, id, actor, reason string) error
	AbortCanary(ctx context.Context, id, actor, reason string) error
	Canary(ctx context.Context, id string) (loop.CanaryView, error)
	OpenCanary(ctx context.Context) (loop.CanaryView, error) // that is under way
	PlanPromotion(ctx context.Context, versionID, at, zone, actor, reason string) (registry.Planned, error)
	CancelPlanned(ctx context.Context, id, actor, reason string) error
}
