package web

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
)

const (
	accountDays = 30
	usageSeries = 4 // models with a colour of their own; the others share one
)

type accountUsageData struct {
	accountTabs
	Days             []usageRow
	Tokens, Requests stack // by day and model
	Total            keyTotal
}

// usageRow is a line of the table.
type usageRow struct {
	account.Day
	Model string // its name, or the end of its id
}

func (s *server) accountUsagePage(c *gin.Context) {
	ctx := c.Request.Context()
	from := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-accountDays)
	days, err := s.Accounts.UsageByDay(ctx, user(c).ID, from)
	if err != nil {
		s.fail(c, err)
		return
	}
	names, err := s.modelNames(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	d := accountUsageData{accountTabs: accountTabs{"usage"}}
	for _, day := range days {
		row := usageRow{day, names[day.ModelVersion]}
		if row.Model == "" {
			row.Model = short(day.ModelVersion)
		}
		d.Days = append(d.Days, row)
		d.Total.add(day)
	}
	others := s.say(c, "others")
	d.Tokens = stackOf(d.Days, from, others, func(d account.Day) float64 { return float64(d.PromptTokens + d.CompletionTokens) })
	d.Requests = stackOf(d.Days, from, others, func(d account.Day) float64 { return float64(d.Requests) })
	s.render(c, http.StatusOK, "account_usage", view{Title: "Your usage", Nav: "account", Data: d})
}

// modelNames are the names of model versions by id.
func (s *server) modelNames(c *gin.Context) (map[string]string, error) {
	list, err := s.Registry.List(c.Request.Context(), "", 1000)
	out := map[string]string{}
	for _, v := range list {
		out[v.ID] = v.Name
	}
	return out, err
}

// stackOf piles the models of each day, the ones that are used most with a colour of their own, the others together on top.
func stackOf(rows []usageRow, from time.Time, others string, value func(account.Day) float64) stack {
	total := map[string]float64{}
	for _, r := range rows {
		total[r.Model] += value(r.Day)
	}
	var names []string
	for name := range total {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if total[a] != total[b] {
			if total[a] > total[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	at := map[string]int{}
	for i, name := range names {
		at[name] = min(i, usageSeries)
	}
	if len(names) > usageSeries {
		names = append(names[:usageSeries:usageSeries], others)
	}
	out := stack{Names: names, Columns: make([]pile, accountDays)}
	byDay := map[string]int{}
	for i := range out.Columns {
		day := from.AddDate(0, 0, i).Format(time.DateOnly)
		out.Columns[i] = pile{Label: day[len("2006-"):], Values: make([]float64, len(names))}
		byDay[day] = i
	}
	for _, r := range rows {
		if i, ok := byDay[r.Day.Day.UTC().Format(time.DateOnly)]; ok {
			out.Columns[i].Values[at[r.Model]] += value(r.Day)
		}
	}
	return out
}
