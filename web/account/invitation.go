package account

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds and defaults of an invitation.
const (
	DefaultInvitation = 7 * 24 * time.Hour // life of a link to join
	MaxInvitation     = 90 * 24 * time.Hour
	PasswordLink      = time.Hour // life of a link that sets a password
	MaxUses           = 1000
)

// Invitation is a link: it lets somebody make an account of a role, or one user set a new password. The link's secret
// is not in it.
type Invitation struct {
	ID        string
	Role      Role
	UserID    string // whose password the link sets; "" for links to join
	Email     string // of UserID
	ProjectID string // where a new labeler begins; "" is anywhere
	Note      string // whom it is for, shown to admins only
	MaxUses   int
	Uses      int
	CreatedBy string // user id; empty: the command line
	CreatedAt time.Time
	ExpiresAt time.Time
	RevokedAt *time.Time
	State     InvitationState
}

// ForPassword says whether the link sets a password rather than makes accounts.
func (i Invitation) ForPassword() bool { return i.UserID != "" }

// InvitationState says whether a link works, and if not, why.
type InvitationState string

// States of an invitation.
const (
	InvitationOpen      InvitationState = "open"
	InvitationUsed      InvitationState = "used"
	InvitationExpired   InvitationState = "expired"
	InvitationRevoked   InvitationState = "revoked"
	InvitationWithdrawn InvitationState = "withdrawn" // who made it may not do so any more
)

// NewInvitation is what a link to join is made from.
type NewInvitation struct {
	Role      Role
	ProjectID string        // "" is none
	Note      string        // up to 200 characters
	Life      time.Duration // 0: DefaultInvitation
	MaxUses   int           // 0: 1
	CreatedBy User          // must manage the role
}

func (n *NewInvitation) normalise() error {
	if n.Life == 0 {
		n.Life = DefaultInvitation
	}
	if n.MaxUses == 0 {
		n.MaxUses = 1
	}
	n.Note = strings.TrimSpace(n.Note)
	switch {
	case !n.Role.Valid():
		return &InvalidError{"role", wantRole}
	case !n.CreatedBy.Role.Manages(n.Role):
		return &InvalidError{"role", "is not one that you may give"}
	case n.Life < time.Minute || n.Life > MaxInvitation:
		return &InvalidError{"life", "must be between a minute and 90 days"}
	case n.MaxUses < 1 || n.MaxUses > MaxUses:
		return &InvalidError{"uses", "must be between 1 and 1000"}
	case n.ProjectID != "" && !validID(n.ProjectID):
		return &InvalidError{"project", "is not the id of a project"}
	case utf8.RuneCountInString(n.Note) > 200 || !utf8.ValidString(n.Note) || strings.ContainsFunc(n.Note, notPrintable):
		return &InvalidError{"note", "must be at most 200 printable characters"}
	}
	return nil
}
