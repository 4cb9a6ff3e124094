package web

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/web/account"
)

// usageDays is how far back usage is shown where nothing is said, and mostUsageDays how far at most.
const (
	usageDays     = 30
	mostUsageDays = 366
)

// usageDay is what a key used of a model version in a UTC day.
type usageDay struct {
	Day              string `json:"day"`
	Model            string `json:"model_version"`
	Requests         int64  `json:"requests"`
	PromptTokens     int64  `json:"prompt_tokens"`
	CachedTokens     int64  `json:"cached_tokens"` // of prompt_tokens
	CompletionTokens int64  `json:"completion_tokens"`
}

// firstDay is the first moment of the first of so many UTC days, of which today is the last.
func firstDay(days int) time.Time {
	return time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-days)
}

// since is the first of the days that a request asks for.
func since(c *gin.Context) (time.Time, error) {
	days := usageDays
	if v := c.Query("days"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > mostUsageDays {
			return time.Time{}, bad("days", fmt.Sprintf("must be a number of days from 1 to %d", mostUsageDays))
		}
		days = n
	}
	return firstDay(days), nil
}

// keyDays is the usage of the asking key.
func (s *server) keyDays(c *gin.Context) (account.Key, []account.Day, error) {
	k := c.MustGet(apiKey).(account.Key)
	from, err := since(c)
	if err != nil {
		return k, nil, err
	}
	days, err := s.Accounts.Usage(c.Request.Context(), account.UsageFilter{UserID: k.CustomerID, KeyID: k.ID, Since: from})
	return k, days, err
}

// keyUsage is what the asking key used in the last days.
func (s *server) keyUsage(c *gin.Context) {
	_, days, err := s.keyDays(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := []usageDay{}
	for _, d := range days {
		out = append(out, usageDay{d.Day.UTC().Format(time.DateOnly), d.ModelVersion, d.Requests, d.PromptTokens, d.CachedTokens, d.CompletionTokens})
	}
	c.JSON(http.StatusOK, gin.H{"usage": out})
}

func (s *server) keyUsageCSV(c *gin.Context) {
	k, days, err := s.keyDays(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.sendUsage(c, days, map[string]account.Key{k.ID: k}, nil)
}

// sendUsage answers with a table of usage for spreadsheets: RFC 4180 with a byte order mark. owners are e-mail addresses by user id;
// nil leaves that column out.
func (s *server) sendUsage(c *gin.Context, days []account.Day, keys map[string]account.Key, owners map[string]string) {
	names, err := s.versionNames(c.Request.Context(), days)
	if err != nil {
		s.fail(c, err)
		return
	}
	var b bytes.Buffer
	b.WriteString("\ufeff")
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	head := []string{"day_utc", "key", "key_name", "model", "model_version", "requests", "prompt_tokens", "cached_tokens", "completion_tokens", "total_tokens"}
	if owners != nil {
		head = append(head, "customer")
	}
	w.Write(head) // a buffer takes all
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, d := range days {
		k := keys[d.KeyID]
		row := []string{d.Day.UTC().Format(time.DateOnly), d.KeyID, inert(k.Name), inert(names[d.ModelVersion]), inert(d.ModelVersion), number(d.Requests), number(d.PromptTokens),
			number(d.CachedTokens), number(d.CompletionTokens), number(d.PromptTokens + d.CompletionTokens)}
		if owners != nil {
			row = append(row, inert(owners[k.CustomerID]))
		}
		w.Write(row)
	}
	w.Flush()
	c.Header("Content-Disposition", `attachment; filename="usage.csv"`)
	c.Data(http.StatusOK, "text/csv; charset=utf-8", b.Bytes())
}

// versionNames are the names of the model versions of usage; one that is gone has none.
func (s *server) versionNames(ctx context.Context, days []account.Day) (map[string]string, error) {
	out := map[string]string{}
	for _, d := range days {
		if _, ok := out[d.ModelVersion]; ok {
			continue
		}
		v, err := s.Registry.Get(ctx, d.ModelVersion)
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return nil, err
		}
		out[d.ModelVersion] = v.Name
	}
	return out, nil
}
