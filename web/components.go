package web

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
)

// componentsData is canned: the page shows the parts that all pages are made of, for those who write pages.
type componentsData struct {
	Colours []string // tokens of the stylesheet
	Types   []string
	Rows    []componentRow
	Columns []column
	Dots    []dot
	Stack   stack
}

type componentRow struct {
	Name  string
	State account.KeyState
	N     int64
	At    time.Time
}

// componentsPage is the page of the design system's parts.
func (s *server) componentsPage(c *gin.Context) {
	at := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	s.render(c, http.StatusOK, "components", view{Title: "Components", Nav: "components", Data: componentsData{
		Colours: []string{"bg", "panel", "sunken", "line", "line-strong", "ink", "muted", "accent", "accent-soft", "accent-text", "good", "good-soft", "warn", "warn-soft", "bad", "bad-soft"},
		Types:   []string{"t5", "t4", "t3", "t2", "t1"},
		Rows:    []componentRow{{"policy-r3", "live", 4210, at}, {"policy-r2", "expired", 918, at.Add(-26 * time.Hour)}, {"一個很長的中文名稱，用來看換行", "revoked", 7, at.Add(-240 * time.Hour)}},
		Columns: []column{{"1", 10, 1}, {"2", 14, 2}, {"3", 9, 1}, {"4", 17, 1.5}}, Dots: []dot{{"A", .71, .66, .76}, {"B", .58, .5, .66}, {"C", .42, .33, .5}},
		Stack: stack{Names: []string{"A", "B", "C"}, Columns: []pile{{"1", []float64{4, 2, 1}}, {"2", []float64{3, 3, 2}}, {"3", []float64{5, 1, 3}}}},
	}})
}
