package openai

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestParsePage(t *testing.T) {
	for query, want := range map[string]Page{
		"":                                      {Limit: 20},
		"after=x&limit=5&order=desc":            {After: "x", Limit: 5, Newest: true},
		"model=m&order=asc&unknown=1":           {Model: "m", Limit: 20},
		"metadata[a]=b&metadata[c d]=%E9%BE%8D": {Limit: 20, Metadata: Metadata{"a": "b", "c d": "龍"}},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, e := ParsePage(values)
		if want.Metadata == nil {
			want.Metadata = Metadata{}
		}
		if e != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v %v", query, got, e)
		}
	}
	for query, param := range map[string]string{"limit=0": "limit", "limit=101": "limit", "limit=x": "limit", "order=up": "order", "metadata=x": "metadata", "after=%ff": "after", "model=%00": "model",
		"metadata[]=x": "metadata", "metadata[a]=" + strings.Repeat("v", 513): "metadata"} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, e := ParsePage(values); e == nil || e.Status != 400 || e.Param == nil || *e.Param != param {
			t.Errorf("%.40s: %+v", query, e)
		}
	}
}

func TestParseUpdate(t *testing.T) {
	for body, want := range map[string]string{`{"metadata":{"a":"b"},"other":1}`: "map[a:b]", `{"metadata":{}}`: "map[]", `{"metadata":null}`: "map[]"} {
		if m, e := ParseUpdate([]byte(body)); e != nil || m == nil || fmt.Sprint(m) != want {
			t.Errorf("%s: %v %v", body, m, e)
		}
	}
	for _, body := range []string{`{}`, `{"metadata":"x"}`, `{"metadata":{"a":1}}`, `{"metadata":{"a":null,"":"x"}}`, `[]`} {
		if _, e := ParseUpdate([]byte(body)); e == nil || e.Status != 400 {
			t.Errorf("%s: %+v", body, e)
		}
	}
}

// TestPageOf walks messages in pages of every size, both ways: each comes once, in order.
func TestPageOf(t *testing.T) {
	list := Messages("c", make([]ChatMessage, 7))
	for _, newest := range []bool{false, true} {
		for limit := 1; limit <= 8; limit++ {
			var seen []string
			p := Page{Limit: limit, Newest: newest}
			for more := true; more; {
				page, e := PageOf(list, p)
				if e != nil || len(page.Data) > limit {
					t.Fatal(page, e)
				}
				for _, m := range page.Data {
					seen = append(seen, m.ID)
				}
				if more = page.HasMore; more {
					p.After = *page.LastID
				}
			}
			want := "c-0 c-1 c-2 c-3 c-4 c-5 c-6"
			if newest {
				want = "c-6 c-5 c-4 c-3 c-2 c-1 c-0"
			}
			if got := strings.Join(seen, " "); got != want {
				t.Errorf("newest %v, limit %d: %s", newest, limit, got)
			}
		}
	}
	if _, e := PageOf(list, Page{After: "d-1", Limit: 1}); e == nil || *e.Param != "after" {
		t.Errorf("%+v", e)
	}
}
