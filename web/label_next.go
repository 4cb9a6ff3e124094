package web

import (
	"cmp"
	"fmt"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/setting"
)

// screenRoutes are the routes that the ranking page needs besides those that other clients use too.
func (s *server) screenRoutes() {
	s.route(labelers, post, "/label/api/next", s.next)
}

// maxHeldIDs bounds the list of assignments that a browser says it has open: more than a labeler can hold.
const maxHeldIDs = 4 * labeling.MaxLeases

type nextBody struct {
	Project string   `json:"project"` // "" = the server's own
	Held    []string `json:"held"`    // assignments that are open in this browser, or wait in it to be sent
}

// next is claim for a page that fetches ahead: it gives a task that the browser does not have.
func (s *server) next(c *gin.Context) {
	if s.limited(c, s.calls, max(otherCallsPerMinute, 2*s.Settings.Int(setting.LabelsPerMinute))) {
		return
	}
	var b nextBody
	err := readJSON(c, &b, true)
	if err == nil && len(b.Held) > maxHeldIDs {
		err = bad("/held", fmt.Sprintf("has %d ids, at most %d", len(b.Held), maxHeldIDs))
	}
	for i, id := range b.Held {
		if err == nil && uuid.Validate(id) != nil {
			err = bad(fmt.Sprintf("/held/%d", i), "is not an id")
		}
	}
	if err == nil && b.Project != "" && b.Project != s.ProjectID {
		_, err = s.openProject(c, b.Project)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	a, err := s.Labeling.ClaimBeside(c.Request.Context(), cmp.Or(b.Project, s.ProjectID), user(c).ID, b.Held)
	s.sendTask(c, a, err)
}
