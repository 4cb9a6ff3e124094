package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// modulePath is the module's name, in front of every room.
const modulePath = "github.com/rankloop/rankloop/"

// plan says which rooms a room may open, and which of the guarded libraries; with the reason. A trailing slash or /* means all
// rooms below.
var plan = map[string]struct {
	rooms     []string
	libraries []string
	why       string
}{
	"cmd/rankloop":       {[]string{"*"}, []string{"gin", "pgx", "river", "riverui", "migrate"}, "joins the rooms"},
	"web":                {[]string{"web/*", "labeling", "reward", "ppo", "ppo/loop", "model/*"}, []string{"gin", "pgx"}, "shows what the rooms know; never queues jobs"},
	"web/openai":         {nil, nil, "wire types only"},
	"web/account":        {nil, []string{"pgx"}, "people and keys know nothing of models"},
	"web/audit":          {nil, []string{"pgx"}, "reads the log"},
	"web/health":         {[]string{"web/audit"}, []string{"pgx"}, "looks at the server, and asks the other rooms by functions that it is given"},
	"web/setting":        {nil, []string{"pgx"}, "numbers by name"},
	"web/stored":         {nil, []string{"pgx"}, "answers that customers keep are JSON to it"},
	"web/conversation":   {nil, []string{"pgx"}, "what people said, and nothing of who answers"},
	"web/oidc":           {nil, nil, "asks who somebody is by a client that it is given; knows no accounts"},
	"web/lang":           {nil, nil, "sentences know no page"},
	"labeling":           {nil, []string{"pgx", "river"}, "text and ids only: a labeler's work outlives any model"},
	"labeling/simulate":  {nil, nil, "labels through HTTP as people do"},
	"ppo/loop":           {[]string{"labeling", "reward", "ppo", "model/*"}, []string{"pgx", "river"}, "the one place that knows the order of a round"},
	"ppo/experiment":     {[]string{"labeling/simulate", "reward", "ppo", "model/*"}, nil, "worlds without a database"},
	"reward":             {[]string{"labeling", "model/*"}, []string{"pgx"}, "learns rankings"},
	"ppo":                {[]string{"model/*"}, []string{"pgx"}, "knows no labels and no reward model, only a Scorer"},
	"model/run":          {[]string{"model/checkpoint"}, []string{"pgx", "river"}, "runs as such, whatever they train"},
	"model/train":        {[]string{"model", "model/token", "model/checkpoint", "model/run", "model/registry", "model/kernel"}, []string{"pgx"}, "next-token training; a saved state names the class of kernels"},
	"model/registry":     {[]string{"model", "model/checkpoint"}, []string{"pgx"}, "versions and what serves"},
	"model/checkpoint":   {[]string{"model", "model/token"}, nil, "files"},
	"model/decode":       {[]string{"model", "model/token"}, nil, "sampling"},
	"model/eval":         {[]string{"model", "model/token", "model/decode"}, nil, "measures"},
	"model/starter":      {[]string{"model", "model/token", "model/train", "model/checkpoint"}, nil, "the weights that ship"},
	"model/remote":       {nil, nil, "asks other engines by a client that it is given"},
	"model/token":        {nil, nil, "text to ids"},
	"model/kernel":       {nil, nil, "arithmetic"},
	"model/mutant":       {nil, nil, "mistakes planted in tests of any room"},
	"model":              {[]string{"model/kernel"}, nil, "shapes stay inside"},
	"migrations":         {nil, []string{"pgx", "river", "migrate"}, "the schema"},
	"migrations/localpg": {nil, []string{"pgx"}, "a private server"},
	"migrations/pgtest":  {[]string{"migrations", "migrations/localpg"}, []string{"pgx"}, "databases for tests"},
}

// libraries are guarded: they may be imported only where the plan says so.
var libraries = map[string]string{
	"gin":     "github.com/gin-gonic/gin",
	"pgx":     "github.com/jackc/pgx",
	"river":   "github.com/riverqueue/river",
	"migrate": "github.com/golang-migrate/migrate",
	"riverui": "riverqueue.com/riverui",
}

func TestImportPlan(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		room := filepath.ToSlash(filepath.Dir(rel))
		rule, ok := plan[room]
		if !ok {
			t.Errorf("%s: the room %s is not in the plan", rel, room)
			return nil
		}
		seen[room] = true
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			checkImport(t, rel, room, p, rule.rooms, rule.libraries, rule.why)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room := range plan {
		if !seen[room] {
			t.Errorf("the plan names %s, which does not exist", room)
		}
	}
}

func checkImport(t *testing.T, file, room, imported string, rooms, allowed []string, why string) {
	if other, ok := strings.CutPrefix(imported, modulePath); ok {
		if !slices.ContainsFunc(rooms, func(pattern string) bool { return opens(pattern, other) }) {
			t.Errorf("%s: %s must not import %s (%s)", file, room, other, why)
		}
		return
	}
	for short, prefix := range libraries {
		if imported != prefix && !strings.HasPrefix(imported, prefix+"/") {
			continue
		}
		if !slices.Contains(allowed, short) {
			t.Errorf("%s: %s must not import %s (%s)", file, room, short, why)
		}
		base := path.Base(filepath.ToSlash(file))
		inStore := strings.HasPrefix(base, "store") || strings.HasPrefix(base, "worker")
		if (short == "pgx" || short == "river") && !inStore && !wiring(room) {
			t.Errorf("%s: only store*.go and worker*.go of a room import %s", file, short)
		}
	}
}

// wiring rooms consist of nothing but stores, transactions and jobs.
func wiring(room string) bool {
	return slices.Contains([]string{"cmd/rankloop", "ppo/loop", "model/run", "web", "migrations", "migrations/localpg", "migrations/pgtest"}, room)
}

// opens says whether a pattern of the plan names the room: itself, "*" for all, or "x/*" for x and all below.
func opens(pattern, room string) bool {
	if pattern == "*" || pattern == room {
		return true
	}
	parent, ok := strings.CutSuffix(pattern, "/*")
	return ok && (room == parent || strings.HasPrefix(room, parent+"/"))
}

func TestTopLevel(t *testing.T) {
	want := []string{"cmd", "web", "labeling", "reward", "ppo", "model", "migrations", "deploy", "go.mod", "go.sum", "README.md", "LICENSE"}
	entries, err := os.ReadDir(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(want, e.Name()) && e.Name() != "rankloop" {
			t.Errorf("%s does not belong on the top level", e.Name())
		}
	}
}
