package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// jobsPolicy is the policy of the job queue's own pages: its files come from this server, it styles elements by attributes, and
// draws icons from data.
const jobsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

func (s *server) jobRoutes() {
	if s.JobsUI == nil {
		return
	}
	for _, path := range []string{"/admin/jobs", "/admin/jobs/*path"} {
		for _, method := range []string{get, post, put, http.MethodPatch, http.MethodDelete} {
			s.route(admins, method, path, s.jobs)
		}
	}
}

// jobs hands over to the job queue's own pages. Who changes a job or a queue there is written down first: those pages know no audit log.
func (s *server) jobs(c *gin.Context) {
	if c.Request.Method != get {
		if err := s.auditJobs(c); err != nil {
			s.fail(c, err)
			return
		}
	}
	c.Header("Content-Security-Policy", jobsPolicy)
	s.JobsUI.ServeHTTP(c.Writer, c.Request)
}

// auditJobs writes what is about to be done to which jobs or queue, and leaves the body to be read again.
func (s *server) auditJobs(c *gin.Context) error {
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return err
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(body))
	var jobs struct {
		IDs []json.RawMessage `json:"ids"`
	}
	json.Unmarshal(body, &jobs) // a body without ids is one that changes no job
	act, subject := jobAct(c.Request.Method, strings.Trim(c.Param("path"), "/"))
	return s.Audit.Append(c.Request.Context(), actor(c), act, subject, map[string]any{"jobs": jobs.IDs})
}

// jobAct names what a path of the job queue's API does, and to which queue: api/jobs/cancel, api/queues/NAME/pause.
func jobAct(method, path string) (act, subject string) {
	parts := strings.Split(path, "/")
	switch {
	case len(parts) == 3 && parts[1] == "jobs":
		return "jobs." + parts[2], ""
	case len(parts) == 4 && parts[1] == "queues":
		return "queue." + parts[3], parts[2]
	case len(parts) == 3 && parts[1] == "queues":
		return "queue.change", parts[2]
	}
	return "jobs." + strings.ToLower(method), path
}
