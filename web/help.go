package web

import (
	"embed"
	"html/template"
	"net/http"

	"github.com/gin-gonic/gin"
)

//go:embed docs
var docsFS embed.FS

// helpPage is one page of the manual: a fragment of HTML in docs, written by hand and therefore trusted.
type helpPage struct {
	Name, Title string
	Body        template.HTML
}

var helpTitles = []struct{ name, title string }{
	{"start", "What rankloop does"},
	{"ranking", "Ranking answers"},
	{"questions", "Other questions, own work, prompts"},
	{"rounds", "Rounds and models"},
	{"eval", "Evaluation"},
	{"attention", "Attention, seen"},
	{"speed", "Speed"},
	{"api", "The API"},
	{"security", "Accounts, keys and privacy"},
}

func loadHelp() ([]helpPage, error) {
	var out []helpPage
	for _, t := range helpTitles {
		b, err := docsFS.ReadFile("docs/" + t.name + ".html")
		if err != nil {
			return nil, err
		}
		out = append(out, helpPage{t.name, t.title, template.HTML(b)})
	}
	return out, nil
}

type helpData struct {
	Pages []helpPage
	Page  helpPage
}

func (s *server) docsPage(c *gin.Context) {
	name := c.Param("page")
	if name == "" {
		name = s.help[0].Name
	}
	for _, p := range s.help {
		if p.Name == name {
			s.render(c, http.StatusOK, "docs", view{Title: p.Title, Nav: "docs", Data: helpData{s.help, p}})
			return
		}
	}
	s.fail(c, s.unknown(c))
}

// openAPI describes the JSON endpoints of rankloop's own; those under /v1 are OpenAI's.
func (s *server) openAPI(c *gin.Context) {
	b, err := docsFS.ReadFile("docs/openapi.json")
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", b)
}
