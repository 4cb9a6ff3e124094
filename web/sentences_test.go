package web

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"
	"unicode"

	"golang.org/x/net/html"

	"github.com/rankloop/rankloop/web/lang"
)

// sentences are all that people may be told, with the places that say them.
type sentences map[string][]string

func (s sentences) add(text, where string) {
	if text != "" {
		s[text] = append(s[text], where)
	}
}

// sources are the project's own files of a kind below a folder, at least so many.
func sources(t *testing.T, from fs.FS, root, ext string, least int) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(from, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ext || strings.Contains(p, "/vendor/") {
			return err
		}
		b, err := fs.ReadFile(from, p)
		out[p] = string(b)
		return err
	})
	if err != nil || len(out) < least {
		t.Fatal(len(out), err)
	}
	return out
}

// ofTemplates takes the texts of t, tn, th and found in all templates.
func (s sentences) ofTemplates(t *testing.T) {
	for f, src := range sources(t, templateFS, "templates", ".html", 10) {
		tree := parse.New(f)
		tree.Mode = parse.SkipFuncCheck
		set := map[string]*parse.Tree{}
		if _, err := tree.Parse(src, "", "", set); err != nil {
			t.Fatal(err)
		}
		for _, part := range set {
			walkTemplate(part.Root, func(c *parse.CommandNode) {
				id, ok := c.Args[0].(*parse.IdentifierNode)
				if !ok || !slices.Contains([]string{"t", "tn", "th"}, id.Ident) {
					return
				}
				key := 1
				if id.Ident == "tn" {
					key = 2
				}
				if len(c.Args) <= key {
					t.Errorf("%s: %s: %s needs a sentence", f, c, id.Ident)
					return
				}
				switch a := c.Args[key].(type) {
				case *parse.StringNode:
					s.add(a.Text, f)
				case *parse.FieldNode, *parse.DotNode, *parse.VariableNode: // a sentence that Go hands over
				default:
					t.Errorf("%s: %s: the sentence must stand there as it is", f, c)
				}
			})
		}
	}
}

func walkTemplate(n parse.Node, each func(*parse.CommandNode)) {
	branch := func(b *parse.BranchNode) {
		walkTemplate(b.Pipe, each)
		walkTemplate(b.List, each)
		if b.ElseList != nil {
			walkTemplate(b.ElseList, each)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, x := range n.Nodes {
			walkTemplate(x, each)
		}
	case *parse.ActionNode:
		walkTemplate(n.Pipe, each)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			walkTemplate(n.Pipe, each)
		}
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			each(c)
			for _, a := range c.Args {
				walkTemplate(a, each)
			}
		}
	}
}

// ofScripts takes the texts of t and tn in all scripts.
func (s sentences) ofScripts(t *testing.T) {
	for f, src := range sources(t, staticFS, "static", ".js", 4) {
		for _, text := range saidBy(src) {
			s.add(text, f)
		}
	}
}

// rooms are where sentences come from that reach people, by folder; files of the list speak to programs only.
var rooms = map[string][]string{
	".":            {"feedback.go", "v1.go", "v1_budget.go", "v1_chat.go", "v1_completions.go", "v1_run.go", "v1_stored.go"},
	"account":      nil,
	"conversation": nil,
	"health":       nil,
	"setting":      nil,
	"../labeling":  nil,
	"../ppo/loop":  nil,

	"../model/registry": nil,
}

// reasonFiles are files of these rooms whose formatted texts are reasons that people read.
var reasonFiles = []string{"compare_memory.go", "gate.go", "guard.go", "store_canary.go", "store_planned.go"}

// ofGo takes what Go hands to people: titles, notes and names in tables of the type sentence, errors, what say is given, and
// the reasons for a promotion.
func (s sentences) ofGo(t *testing.T) {
	for dir, skip := range rooms {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(dir, files, err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") || slices.Contains(skip, filepath.Base(f)) {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), f, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					s.ofCall(t, f, n)
				case *ast.CompositeLit:
					s.ofLiteral(f, n)
				}
				return true
			})
			if slices.Contains(reasonFiles, filepath.Base(f)) {
				ast.Inspect(file, func(n ast.Node) bool {
					if c, ok := n.(*ast.CallExpr); ok {
						s.add(text(c), f)
					}
					return true
				})
			}
		}
	}
}

// statusNames are the titles of answers.
var statusNames = map[string]int{
	"StatusForbidden": 403, "StatusNotFound": 404, "StatusMethodNotAllowed": 405, "StatusUnauthorized": 401, "StatusConflict": 409, "StatusGone": 410,
	"StatusTooManyRequests": 429, "StatusServiceUnavailable": 503, "StatusInternalServerError": 500, "StatusRequestEntityTooLarge": 413, "StatusBadRequest": 400,
	"StatusRequestedRangeNotSatisfiable": 416, "StatusUnprocessableEntity": 422, "StatusUnsupportedMediaType": 415, "StatusPreconditionFailed": 412,
}

func (s sentences) ofCall(t *testing.T, file string, c *ast.CallExpr) {
	name := ""
	switch f := c.Fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
	}
	switch {
	case (name == "say" || name == "bad" || name == "invalid") && len(c.Args) >= 2:
		s.add(text(c.Args[1]), file)
	case name == "status" && len(c.Args) == 2:
		s.add(text(c.Args[1]), file)
		if code, ok := c.Args[0].(*ast.SelectorExpr); ok && code.Sel.Name != "Status" {
			n, known := statusNames[code.Sel.Name]
			if !known {
				t.Errorf("%s: the title of %s is not known to this test", file, code.Sel.Name)
			}
			s.add(http.StatusText(n), file)
		}
	}
}

func (s sentences) ofLiteral(file string, lit *ast.CompositeLit) {
	switch kind := lit.Type.(type) {
	case *ast.MapType:
		if isSentence(kind.Value) {
			for _, e := range lit.Elts {
				s.add(text(e.(*ast.KeyValueExpr).Value), file)
			}
		}
	case *ast.ArrayType:
		of, ok := kind.Elt.(*ast.StructType)
		if !ok {
			return
		}
		at := 0
		for _, f := range of.Fields.List {
			if isSentence(f.Type) {
				for _, e := range lit.Elts {
					if row, ok := e.(*ast.CompositeLit); ok && len(row.Elts) > at {
						s.add(text(row.Elts[at]), file)
					}
				}
			}
			at += max(1, len(f.Names))
		}
	case *ast.Ident:
		if kind.Name == "InvalidError" && len(lit.Elts) == 2 {
			reason := lit.Elts[1]
			if kv, ok := reason.(*ast.KeyValueExpr); ok {
				reason = kv.Value
			}
			s.add(text(reason), file)
		}
		if kind.Name == "view" || kind.Name == "problem" {
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == "Title" {
					s.add(text(kv.Value), file)
				}
			}
		}
	}
}

func isSentence(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "sentence"
}

// text is that of a literal, or of the first one that a call of Sprintf is given.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sprintf" {
			return text(e.Args[0])
		}
	}
	return ""
}

func allSentences(t *testing.T) sentences {
	t.Helper()
	s := sentences{}
	s.ofTemplates(t)
	s.ofScripts(t)
	s.ofGo(t)
	s.ofTraining()
	for _, reason := range []string{"%d", "%q", "%v", "%s"} { // a reason that another room gives
		delete(s, reason)
	}
	return s
}

var marks = regexp.MustCompile(`<[^>]*>`)

// TestSentences: each sentence has a translation, each translation has a sentence, and both hold the same values and marks.
func TestSentences(t *testing.T) {
	said := allSentences(t)
	if len(said) < 250 {
		t.Errorf("only %d sentences found", len(said))
	}
	speaks, err := lang.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range speaks[1:] {
		file := "lang/" + l.Tag + ".json"
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var words map[string]string
		if err := json.Unmarshal(raw, &words); err != nil {
			t.Fatal(err)
		}
		var missing, unused []string
		for _, key := range slices.Sorted(maps.Keys(said)) {
			if words[key] == "" {
				missing = append(missing, fmt.Sprintf("  %s: \"\",", quoted(key)))
			}
		}
		for _, key := range slices.Sorted(maps.Keys(words)) {
			if _, ok := said[key]; !ok {
				unused = append(unused, "  "+quoted(key))
			}
			if a, b := lang.Verbs(key), lang.Verbs(words[key]); !slices.Equal(a, b) {
				t.Errorf("%s: %s holds the values %q, its translation %q", file, quoted(key), a, b)
			}
			if a, b := sorted(marks.FindAllString(key, -1)), sorted(marks.FindAllString(words[key], -1)); !slices.Equal(a, b) {
				t.Errorf("%s: %s holds the marks %q, its translation %q", file, quoted(key), a, b)
			}
		}
		if len(missing) > 0 {
			t.Errorf("%s lacks %d sentences:\n%s", file, len(missing), strings.Join(missing, "\n"))
		}
		if len(unused) > 0 {
			t.Errorf("%s has %d sentences that nobody says:\n%s", file, len(unused), strings.Join(unused, "\n"))
		}
		var lines []string
		for _, key := range slices.Sorted(maps.Keys(words)) {
			lines = append(lines, "  "+quoted(key)+": "+quoted(words[key]))
		}
		if want := "{\n" + strings.Join(lines, ",\n") + "\n}\n"; string(raw) != want {
			t.Errorf("%s must be sorted, one sentence a line", file)
		}
	}
}

func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

func sorted(s []string) []string { slices.Sort(s); return s }

// TestTraditionalChinese: nothing is written in simplified characters, or in words that Taiwan does not use.
func TestTraditionalChinese(t *testing.T) {
	texts := map[string]string{}
	raw, err := os.ReadFile("lang/zh-Hant.json")
	if err != nil {
		t.Fatal(err)
	}
	texts["zh-Hant.json"] = string(raw)
	pages, err := filepath.Glob("docs/zh-Hant/*")
	if err != nil || len(pages) < 2 {
		t.Fatal(pages, err)
	}
	for _, p := range pages {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		texts[p] = string(b)
	}
	for name, text := range texts {
		if at := strings.IndexAny(text, "们这说对时会国发为学过动进样种现经开关问题录选择标签训练数据没还应该给让从"); at >= 0 {
			t.Errorf("%s: a simplified character in %.60q", name, text[at:])
		}
		for _, word := range strings.Fields("用戶 默認 信息 登錄 賬號 質量 屏幕 鼠標 菜單 刷新 加載 保存 訪問 服務器 程序 數據 反饋 激活 設置 創建 支持 鏈接 視頻 優化器 對話框") {
			if at := strings.Index(text, word); at >= 0 {
				t.Errorf("%s: %s in %.60q", name, word, text[at:])
			}
		}
	}
}

// actions are what a template computes; a part of HTML without them is what it says by itself.
var actions = regexp.MustCompile(`(?s)\{\{.*?\}\}`)

// TestNothingBypassesTranslation: no template says anything that did not go through t.
func TestNothingBypassesTranslation(t *testing.T) {
	spokenIn := map[string]bool{"title": true, "aria-label": true, "placeholder": true, "alt": true, "label": true, "aria-description": true, "summary": true}
	for f, src := range sources(t, templateFS, "templates", ".html", 10) {
		for _, text := range untranslated(strings.ReplaceAll(actions.ReplaceAllString(src, ""), "noscript>", "div>"), spokenIn) {
			t.Errorf("%s says %q without t", f, text)
		}
	}
	if got := untranslated(`<p title="A title">Hello <kbd>Enter</kbd></p>`, spokenIn); len(got) != 2 {
		t.Errorf("the test finds %q", got)
	}
}

// untranslated are the words in the text and the spoken attributes of HTML. Names of keys, code and identifiers are no words.
func untranslated(src string, spokenIn map[string]bool) []string {
	var out []string
	check := func(s string) {
		for _, known := range []string{"rankloop", "rk_live_", "UTC", "01890a5d-…", "ada@example.com", "user.role, user.", "CSV", "JSONL"} {
			s = strings.ReplaceAll(s, known, "")
		}
		if strings.ContainsFunc(s, unicode.IsLetter) {
			out = append(out, strings.TrimSpace(s))
		}
	}
	z := html.NewTokenizer(strings.NewReader(src))
	quiet := 0
	for {
		switch z.Next() {
		case html.ErrorToken:
			return out
		case html.TextToken:
			if quiet == 0 {
				check(string(z.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			tok := z.Token()
			if slices.Contains([]string{"kbd", "code", "pre", "script"}, tok.Data) {
				quiet++
			}
			for _, a := range tok.Attr {
				if spokenIn[a.Key] {
					check(a.Val)
				}
			}
		case html.EndTagToken:
			if slices.Contains([]string{"kbd", "code", "pre", "script"}, z.Token().Data) {
				quiet--
			}
		}
	}
}

// bypasses are the ways in which a script puts words on a page.
var bypasses = regexp.MustCompile(`(?:textContent|title|placeholder|ariaLabel|innerText)\s*=\s*"([^"]*)"|setAttribute\("(?:aria-label|title|placeholder|aria-valuetext)",\s*"([^"]*)"|element\("[a-z0-9]+",\s*"[^"]*",\s*"([^"]*)"|new Option\("([^"]*)"`)

// TestScriptsTranslate: no script puts words on a page that did not go through t.
func TestScriptsTranslate(t *testing.T) {
	for f, src := range sources(t, staticFS, "static", ".js", 4) {
		for _, m := range bypasses.FindAllStringSubmatch(src, -1) {
			if s := strings.Join(m[1:], ""); regexp.MustCompile(`\pL\pL`).MatchString(s) {
				t.Errorf("%s says %q without t", f, s)
			}
		}
	}
	if m := bypasses.FindStringSubmatch(`element("p", "x", "Hello")`); m == nil {
		t.Error("the test finds nothing")
	}
}
