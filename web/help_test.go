package web

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/lang"
)

// Every page of the manual is listed, and none asks for what the pages' policy forbids.
func TestManual(t *testing.T) {
	speaks, err := lang.Load()
	if err != nil {
		t.Fatal(err)
	}
	pages, err := loadHelp(speaks[0])
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(docsFS, "docs/*.html")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(pages) {
		t.Errorf("%d pages are listed, of %q", len(pages), files)
	}
	for _, l := range speaks[1:] { // the translated ones too
		translated, err := loadHelp(l)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, translated...)
	}
	forbidden := regexp.MustCompile(`(?i)<script|<style|\sstyle=|\son[a-z]+=|(src|href)="[a-z]*:`)
	for _, p := range pages {
		if !slices.Contains(files, "docs/"+p.Name+".html") || p.Title == "" {
			t.Errorf("%q %q is no file of %q", p.Name, p.Title, files)
		}
		body := string(p.Body)
		if at := forbidden.FindString(body); at != "" {
			t.Errorf("%s holds %q", p.Name, at)
		}
		for _, el := range []string{"p", "table", "pre", "h2", "svg", "g", "ul", "ol"} {
			if open, shut := len(regexp.MustCompile("<"+el+`[\s>]`).FindAllString(body, -1)), strings.Count(body, "</"+el+">"); open != shut {
				t.Errorf("%s: %d <%s> and %d </%s>", p.Name, open, el, shut, el)
			}
		}
	}
}

// outline is what a page of the manual shows in any language: its headings and rows, the anchors, links, keys and names in it.
func outline(page string) []string {
	var out []string
	for _, el := range []string{"h2", "p", "tr", "li", "svg"} {
		out = append(out, fmt.Sprintf("%d <%s>", len(regexp.MustCompile("<"+el+`[\s>]`).FindAllString(page, -1)), el))
	}
	for _, said := range []string{`\sid="[^"]*"`, `href="[^"]*"`, `<code>[^<]*</code>`, `<kbd>[^<]*</kbd>`} {
		out = append(out, sorted(regexp.MustCompile(said).FindAllString(page, -1))...)
	}
	return out
}

// TestManualSaysTheSame: a translated page of the manual has the outline of the English one, so that neither lacks what the other says.
func TestManualSaysTheSame(t *testing.T) {
	translated, err := fs.Glob(docsFS, "docs/*/*.html")
	if err != nil || len(translated) < len(helpTitles) {
		t.Fatal(translated, err)
	}
	for _, file := range translated {
		there, err := docsFS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		english, err := docsFS.ReadFile("docs/" + path.Base(file))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := outline(string(english)), outline(string(there)); !slices.Equal(a, b) {
			t.Errorf("%s differs from the English page; only there: %q, only here: %q", file, without(a, b), without(b, a))
		}
	}
}

// without is what of a is not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
