package web

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
)

// A request is refused before the engine hears of it where it may use more than its key has left. What it may use at most (its
// prompts and max_tokens for every choice that is drawn) is set aside when it begins; what it did not use is given back when it ends.
// Buckets of a minute are this process's own. The quota of a day is the database's: the sum of the usage rows, to which each process
// adds what it has under way.

// flights are the tokens set aside by requests under way of keys that have a quota.
type flights struct {
	mu   sync.Mutex
	keys map[string]int64
}

// add sets n aside (or gives them back) and returns what is set aside with them.
func (f *flights) add(key string, n int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		f.keys = map[string]int64{}
	}
	f.keys[key] += n
	sum := f.keys[key]
	if sum == 0 {
		delete(f.keys, key)
	}
	return sum
}

// hold is what a request has set aside.
type hold struct {
	s      *server
	key    account.Key
	tokens int
}

// reserve sets tokens aside for a request, or says why there are not so many.
func (s *server) reserve(c *gin.Context, k account.Key, tokens int) (*hold, error) {
	if err := s.reserveDay(c, k, int64(tokens)); err != nil {
		return nil, err
	}
	ok, remaining, reset, wait := s.tokens.takeN(k.ID, k.TPM, tokens)
	tokenHeaders(c, k, remaining, reset)
	if ok {
		return &hold{s, k, tokens}, nil
	}
	if k.DailyTokens > 0 {
		s.flight.add(k.ID, -int64(tokens))
	}
	s.Meter.refused("tokens")
	if tokens > k.TPM {
		c.Header("X-Should-Retry", "false") // official clients would try again in vain
		c.Header("Retry-After", "60")
		return nil, openai.RateLimited(openai.LimitTokens, fmt.Sprintf("Request too large for this key on tokens per min (TPM): Limit %d, Requested %d. The prompt or max_tokens must be reduced.", k.TPM, tokens))
	}
	c.Header("Retry-After", seconds(wait))
	return nil, openai.RateLimited(openai.LimitTokens, fmt.Sprintf("Rate limit reached for this key on tokens per min (TPM): Limit %d, Used %d, Requested %d. Please try again in %s.",
		k.TPM, k.TPM-remaining, tokens, wait.Round(time.Millisecond)))
}

// reserveDay holds the quota of a day. The tokens are set aside before what was used is read: a request that ends in between is
// counted twice rather than not at all, so that the quota is never exceeded, and among requests at the same time the first ones fit.
func (s *server) reserveDay(c *gin.Context, k account.Key, tokens int64) error {
	if k.DailyTokens == 0 {
		return nil
	}
	aside := s.flight.add(k.ID, tokens)
	used, left, err := s.Accounts.UsedToday(c.Request.Context(), k.ID)
	if err == nil && used+aside <= k.DailyTokens {
		return nil
	}
	s.flight.add(k.ID, -tokens)
	if err != nil {
		return err
	}
	s.Meter.refused("quota")
	c.Header("X-Should-Retry", "false")
	c.Header("Retry-After", seconds(left))
	return openai.QuotaExceeded(fmt.Sprintf("You exceeded the quota of this key: %d tokens a day (UTC), %d used or under way, %d requested.", k.DailyTokens, used+aside-tokens, tokens))
}

// end gives back what was not used, once the usage is recorded.
func (h *hold) end(used int) {
	if h == nil {
		return
	}
	h.s.tokens.give(h.key.ID, h.key.TPM, max(0, h.tokens-used))
	if h.key.DailyTokens > 0 {
		h.s.flight.add(h.key.ID, -int64(h.tokens))
	}
}

// rated counts a request against its key's limit before any work is done, and says in headers what is left.
func (s *server) rated(next gin.HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		k := c.MustGet(apiKey).(account.Key)
		ok, remaining, reset, wait := s.api.take(k.ID, k.RPM)
		c.Header("X-Ratelimit-Limit-Requests", strconv.Itoa(k.RPM))
		c.Header("X-Ratelimit-Remaining-Requests", strconv.Itoa(remaining))
		c.Header("X-Ratelimit-Reset-Requests", resetIn(reset))
		_, tokens, full, _ := s.tokens.takeN(k.ID, k.TPM, 0)
		tokenHeaders(c, k, tokens, full)
		if !ok {
			s.Meter.refused("requests")
			p := status(429, fmt.Sprintf("Rate limit reached for this key on requests per min (RPM): Limit %d. Please try again in %s.", k.RPM, wait.Round(time.Millisecond)))
			p.Retry = wait
			s.fail(c, p)
			return
		}
		next(c)
	}
}

func tokenHeaders(c *gin.Context, k account.Key, remaining int, reset time.Duration) {
	c.Header("X-Ratelimit-Limit-Tokens", strconv.Itoa(k.TPM))
	c.Header("X-Ratelimit-Remaining-Tokens", strconv.Itoa(remaining))
	c.Header("X-Ratelimit-Reset-Tokens", resetIn(reset))
}

// resetIn writes a duration as OpenAI does: 12ms, 1.5s, 6m0s.
func resetIn(d time.Duration) string { return d.Round(time.Millisecond).String() }
