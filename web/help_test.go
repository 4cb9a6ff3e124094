package web

import (
	"io/fs"
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
		for _, p := range translated {
			if p.Lang == l.Tag {
				pages = append(pages, p)
			}
		}
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
