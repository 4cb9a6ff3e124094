package web

import (
	"encoding/xml"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		n         int
		want      []float64
	}{
		{0, 1, 5, []float64{0, .2, .4, .6, .8, 1}}, {0, 7, 4, []float64{0, 2, 4, 6}}, {-1, 1, 5, []float64{-1, -.5, 0, .5, 1}}, {0, 1234, 4, []float64{0, 500, 1000}}, {3, 3, 4, []float64{3}}, {0, math.Inf(1), 4, []float64{0}},
	} {
		if got := ticks(c.low, c.high, c.n); !slices.EqualFunc(got, c.want, func(a, b float64) bool { return num(a) == num(b) }) {
			t.Errorf("%g to %g: %v, want %v", c.low, c.high, got, c.want)
		}
	}
}

// whole reads an image as XML and returns the attributes of its elements of a class.
func whole(t *testing.T, image, class string) []map[string]string {
	t.Helper()
	var out []map[string]string
	d := xml.NewDecoder(strings.NewReader(image))
	for {
		token, err := d.Token()
		if token == nil {
			if err != nil && err.Error() != "EOF" {
				t.Fatalf("%v: %s", err, image)
			}
			return out
		}
		if e, ok := token.(xml.StartElement); ok {
			at := map[string]string{}
			for _, a := range e.Attr {
				at[a.Name.Local] = a.Value
			}
			if at["class"] == class {
				out = append(out, at)
			}
		}
	}
}

const nasty = `<script>alert(1)</script> " ' & ]]>`

func TestColumnPlot(t *testing.T) {
	image := string(columnPlot("id", "Title "+nasty, "What it shows", 5, []column{{"a", 10, 0}, {nasty, 5, 1}, {"c", 0, 0}, {"d", math.NaN(), 0}}))
	bars := whole(t, image, "bar")
	if len(bars) != 4 || bars[0]["height"] != "152" || bars[1]["height"] != "76" || bars[2]["height"] != "0" || bars[0]["y"] != "14" {
		t.Errorf("bars %v", bars)
	}
	if lines := whole(t, image, "reference"); len(lines) != 1 || lines[0]["y1"] != "90" {
		t.Errorf("reference %v", lines)
	}
	if w := whole(t, image, "whisker"); len(w) != 1 || w[0]["y1"] != "105.2" || w[0]["y2"] != "74.8" {
		t.Errorf("whisker %v", w)
	}
	for _, want := range []string{`aria-labelledby="id-title id-desc"`, `<title id="id-title">Title &lt;script`, `<desc id="id-desc">What it shows`} {
		if !strings.Contains(image, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if strings.Contains(image, "NaN") || strings.Contains(image, "<script") || strings.Contains(image, "style=") {
		t.Error(image)
	}
	if n := len(whole(t, string(columnPlot("x", "", "", 0, nil)), "bar")); n != 0 {
		t.Error("bars of nothing")
	}
	many := make([]column, 60)
	for i := range many {
		many[i] = column{"day", 1, 0}
	}
	if n := strings.Count(string(columnPlot("x", "t", "d", 0, many)), ">day</text>"); n != 15 { // a column is 6.9 wide, a label 23.8
		t.Errorf("%d labels under 60 columns", n)
	}
}

func TestDotPlot(t *testing.T) {
	image := string(dotPlot("id", "t", "d", 0, 1, .5, []dot{{"half", .5, .25, 2}, {nasty, 1, .9, 1}}))
	dots := whole(t, image, "dot")
	whiskers := whole(t, image, "whisker")
	if len(dots) != 2 || dots[0]["cx"] != "280" || dots[1]["cx"] != "448" || len(whiskers) != 2 || whiskers[0]["x1"] != "196" || whiskers[0]["x2"] != "448" {
		t.Errorf("%v %v", dots, whiskers)
	}
	if m := regexp.MustCompile(`viewBox="0 0 460 (\d+)"`).FindStringSubmatch(image); m == nil || m[1] != "92" {
		t.Errorf("height %v", m)
	}
	if n := len(whole(t, string(dotPlot("id", "t", "d", 0, 1, 7, nil)), "reference")); n != 0 {
		t.Error("a line outside")
	}
}
