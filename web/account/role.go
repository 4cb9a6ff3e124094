package account

import "slices"

// Role is what a user may do.
type Role string

// The roles. An owner may do all an admin may, and alone decides who administers.
const (
	RoleLabeler  Role = "labeler"  // ranks answers
	RoleReviewer Role = "reviewer" // ranks answers, and decides on reported and disputed tasks
	RoleAnalyst  Role = "analyst"  // sees dashboards, models and exports; changes nothing
	RoleCustomer Role = "customer" // calls the API
	RoleAdmin    Role = "admin"
	RoleOwner    Role = "owner"
)

// Roles lists them all.
var Roles = []Role{RoleLabeler, RoleReviewer, RoleAnalyst, RoleCustomer, RoleAdmin, RoleOwner}

const wantRole = "must be labeler, reviewer, analyst, customer, admin or owner"

// Valid says whether it is one of the roles.
func (r Role) Valid() bool { return slices.Contains(Roles, r) }

// Admin says whether the role may change how the installation works.
func (r Role) Admin() bool { return r == RoleAdmin || r == RoleOwner }

// Labels says whether the role may rank answers.
func (r Role) Labels() bool { return r == RoleLabeler || r == RoleReviewer || r.Admin() }

// Reviews says whether the role may decide on reported tasks.
func (r Role) Reviews() bool { return r == RoleReviewer || r.Admin() }

// Reads says whether the role may see how labeling and training go.
func (r Role) Reads() bool { return r == RoleAnalyst || r.Admin() }

// Manages says whether the role may make, invite, change and disable users of the other role: owners manage everybody,
// admins those below them.
func (r Role) Manages(other Role) bool { return r == RoleOwner || r == RoleAdmin && !other.Admin() }

// Managed lists the roles that the role manages.
func (r Role) Managed() []Role {
	return slices.DeleteFunc(slices.Clone(Roles), func(other Role) bool { return !r.Manages(other) })
}
