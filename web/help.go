package web

import (
	"embed"
	"html/template"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/lang"
)

//go:embed docs
var docsFS embed.FS

// helpPage is one page of the manual: a fragment of HTML, written by hand and therefore trusted. docs holds the English
// ones, docs/<tag> the same in another language.
type helpPage struct {
	Name, Title string
	Body        template.HTML
}

var helpTitles = []struct {
	name  string
	title sentence
}{
	{"start", "What rankloop does"},
	{"ranking", "Ranking answers"},
	{"questions", "Other questions, own work, prompts"},
	{"quality", "Quality of the labels"},
	{"admin", "Running labeling"},
	{"rounds", "Rounds and models"},
	{"compare", "Comparing two models"},
	{"reward", "Reward models"},
	{"ppo", "Training by PPO"},
	{"grpo", "Training by GRPO"},
	{"rloo", "Training by RLOO"},
	{"dpo", "Training by DPO"},
	{"best-of-n", "Best of n, rejection sampling"},
	{"data", "Data in and out"},
	{"eval", "Evaluation"},
	{"experiments", "Experiments"},
	{"attention", "Attention, seen"},
	{"speed", "Speed"},
	{"engines", "Other engines"},
	{"chat", "Chat"},
	{"api", "The API"},
	{"feedback", "Feedback"},
	{"rewards", "Rewards for other trainers"},
	{"operations", "Operations"},
	{"security", "Accounts, keys and privacy"},
}

// reachable lets the keyboard scroll what is wider than the screen.
var reachable = strings.NewReplacer("<pre>", `<pre tabindex="0">`, `<div class="scroll">`, `<div class="scroll" tabindex="0">`)

// loadHelp reads the manual in the language.
func loadHelp(l *lang.Language) ([]helpPage, error) {
	dir := "docs/"
	if l.Tag != "en" {
		dir += l.Tag + "/"
	}
	var out []helpPage
	for _, t := range helpTitles {
		b, err := docsFS.ReadFile(dir + t.name + ".html")
		if err != nil {
			return nil, err
		}
		out = append(out, helpPage{t.name, l.T(string(t.title)), template.HTML(reachable.Replace(string(b)))})
	}
	return out, nil
}

type helpData struct {
	Pages []helpPage
	Page  helpPage
}

func (s *server) docsPage(c *gin.Context) {
	help := s.help[s.language(c).Tag]
	name := c.Param("page")
	if name == "" {
		name = help[0].Name
	}
	for _, p := range help {
		if p.Name == name {
			s.render(c, http.StatusOK, "docs", view{Title: p.Title, Nav: "docs", Data: helpData{help, p}})
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
