package web

import (
	"testing"

	"github.com/rankloop/rankloop/web/account"
)

// TestLookLabeling walks the labeling pages, empty and full, at a desk and on a phone, light and dark: nothing may be wider
// than the window, everything has a name, no script fails.
func TestLookLabeling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	w.user("nora", account.RoleAnalyst)
	walk := func(name, who string, width, height int64, dark bool, pages map[string]string) {
		t.Run(name, func(t *testing.T) {
			v := *w
			v.T = t
			b := v.open(width, height, dark)
			b.signIn(who + "@example.com")
			for page, path := range pages {
				b.visit(path)
				b.fitsWidth()
				b.named()
				b.axe()
				b.shot(page)
			}
		})
	}
	empty := map[string]string{"progress": "/admin/labeling", "tasks": "/admin/labeling/tasks", "pay": "/admin/labeling/pay"}
	walk("empty", "ada", 1280, 900, false, empty)
	people, tasks := w.labeled(12)
	full := map[string]string{"progress": "/admin/labeling", "agreement": "/admin/labeling/agreement", "quality": "/admin/labeling/quality",
		"person": "/admin/labeling/people/" + people[0].ID, "people": "/admin/people",
		"tasks": "/admin/labeling/tasks?state=done&task=" + tasks[3].ID, "task": "/admin/labeling/tasks/" + tasks[0].ID, "pay": "/admin/labeling/pay?tz=Asia/Taipei"}
	walk("phone-dark", "ada", 360, 740, true, full)
	delete(full, "people")
	walk("analyst", "nora", 1280, 900, false, full)
}
