package kernel

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestEverythingIsTested demands that every exported function and method, on any system, is named by a test and, where it computes,
// by a benchmark.
func TestEverythingIsTested(t *testing.T) {
	noBenchmark := []string{"Class", "MixedIsFast", "SetThreads", "Threads", "Bytes", "PanelsBytes"}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]string{}
	tested, measured := map[string]bool{}, map[string]bool{}
	for _, e := range files {
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || name == "exports_test.go" {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.IsExported() {
					exported[fn.Name.Name] = name
				}
			}
			continue
		}
		for _, d := range f.Decls {
			fn, isFunc := d.(*ast.FuncDecl)
			named := tested
			if isFunc && strings.HasPrefix(fn.Name.Name, "Benchmark") {
				named = measured
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					named[id.Name] = true
				}
				return true
			})
		}
	}
	if len(exported) < 40 {
		t.Fatalf("only %d exported functions were found", len(exported))
	}
	for name, file := range exported {
		if !tested[name] {
			t.Errorf("%s: no test names %s", file, name)
		}
		if !measured[name] && !slices.Contains(noBenchmark, name) {
			t.Errorf("%s: no benchmark names %s", file, name)
		}
	}
}
