package labeling

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var errPending = errors.New("labeling: being written")

// Store is the room's door to Postgres. A public method is one act.
type Store struct{ pool *pgxpool.Pool }

// After runs in the transaction of a Submit, after everything else.
type After func(ctx context.Context, tx pgx.Tx, projectID string) error

// NewStore makes a store on a pool.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

func (s *Store) EnsureProject(ctx context.Context, p Project) (Project, error) {
	return Project{}, errPending
}
func (s *Store) UpdateProject(ctx context.Context, p Project, actor string) (Project, error) {
	return Project{}, errPending
}
func (s *Store) Project(ctx context.Context, id string) (Project, error) {
	return Project{}, errPending
}
func (s *Store) ProjectByName(ctx context.Context, name string) (Project, error) {
	return Project{}, errPending
}
func (s *Store) Projects(ctx context.Context) ([]Project, error) { return nil, errPending }
func (s *Store) AddPrompt(ctx context.Context, tx pgx.Tx, p NewPrompt) (Prompt, bool, error) {
	return Prompt{}, false, errPending
}
func (s *Store) Prompt(ctx context.Context, id string) (Prompt, error) { return Prompt{}, errPending }
func (s *Store) PromptsWithoutTask(ctx context.Context, projectID string, limit int) ([]Prompt, error) {
	return nil, errPending
}
func (s *Store) SetConsent(ctx context.Context, tx pgx.Tx, customerID, apiKeyID string, consent bool) (prompts int, err error) {
	return 0, errPending
}
func (s *Store) AddTask(ctx context.Context, tx pgx.Tx, promptID string, responses []NewResponse, overlap int, batch string) (Task, error) {
	return Task{}, errPending
}
func (s *Store) Claim(ctx context.Context, projectID, labelerID string) (*Assignment, error) {
	return nil, errPending
}
func (s *Store) ClaimNext(ctx context.Context, projectID, labelerID string) (*Assignment, error) {
	return nil, errPending
}
func (s *Store) Assignment(ctx context.Context, assignmentID, labelerID string) (*Assignment, error) {
	return nil, errPending
}
func (s *Store) Renew(ctx context.Context, assignmentID, labelerID string) (*Assignment, error) {
	return nil, errPending
}
func (s *Store) SaveDraft(ctx context.Context, assignmentID, labelerID string, d Draft) error {
	return errPending
}
func (s *Store) Submit(ctx context.Context, in SubmitInput, after func(ctx context.Context, tx pgx.Tx, projectID string) error) (Ranking, error) {
	return Ranking{}, errPending
}
func (s *Store) Reopen(ctx context.Context, projectID, labelerID string) (*Assignment, error) {
	return nil, errPending
}
func (s *Store) Skip(ctx context.Context, assignmentID, labelerID, reason string) error {
	return errPending
}
func (s *Store) Release(ctx context.Context, assignmentID, labelerID string) error { return errPending }
func (s *Store) Progress(ctx context.Context, projectID, labelerID string) (Progress, error) {
	return Progress{}, errPending
}
func (s *Store) CountRankings(ctx context.Context, projectID, batch string) (int, error) {
	return 0, errPending
}
func (s *Store) CountRankingsTx(ctx context.Context, tx pgx.Tx, projectID, batch string) (int, error) {
	return 0, errPending
}
func (s *Store) BatchCounts(ctx context.Context, projectID, batch string) (BatchCounts, error) {
	return BatchCounts{}, errPending
}
func (s *Store) BatchCountsTx(ctx context.Context, tx pgx.Tx, projectID, batch string) (BatchCounts, error) {
	return BatchCounts{}, errPending
}
func (s *Store) Snapshot(ctx context.Context, tx pgx.Tx, projectID string, f SnapshotFilter) (Snapshot, error) {
	return Snapshot{}, errPending
}
func (s *Store) SnapshotItems(ctx context.Context, snapshotID string) ([]RankedPrompt, error) {
	return nil, errPending
}
func (s *Store) Agreement(ctx context.Context, projectID, batch string) (Agreement, error) {
	return Agreement{}, errPending
}
func (s *Store) Sweep(ctx context.Context) (int, error) { return 0, errPending }
