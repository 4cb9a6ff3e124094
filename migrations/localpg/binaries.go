package localpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const minMajor = 14

// BinEnv names the environment variable that points at the folder with postgres and initdb.
const BinEnv = "RANKLOOP_PG_BIN"

// usualFolders are where packages of the common systems put the binaries; of each, the highest version is tried first.
var usualFolders = []string{
	"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                   // Red Hat, PGDG
	"/usr/lib/postgresql*/bin",           // SUSE
	"/usr/libexec/postgresql*",           // Alpine
	"/opt/homebrew/opt/postgresql@*/bin", // Homebrew, Apple silicon
	"/usr/local/opt/postgresql@*/bin",    // Homebrew, Intel
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// binaries is a folder with postgres and initdb, and what they are.
type binaries struct {
	dir     string
	major   int
	version string // "15.18", "18beta1"
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// MissingError says that no usable PostgreSQL was found, and the one line that installs it.
type MissingError struct {
	Major   int    // the major version an existing cluster needs, 0 for any
	Looked  string // where, and what did not fit
	Install string // line to type
}

func (e *MissingError) Error() string {
	need := fmt.Sprintf("no PostgreSQL %d or newer found", minMajor)
	if e.Major != 0 {
		need = fmt.Sprintf("the cluster was made by PostgreSQL %d, and no binaries of that version were found", e.Major)
	}
	return fmt.Sprintf("%s (%s); to install it, type: %s", need, e.Looked, e.Install)
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) ((\d+)[^\s]*)`)

// findBinaries finds (or, unless forbidden, fetches) binaries of the major version given, or with 0 of any from minMajor.
func findBinaries(ctx context.Context, cfg Config, who account, major int) (binaries, error) {
	for _, given := range []struct{ what, dir string }{{"configured", cfg.BinDir}, {"$" + BinEnv, os.Getenv(BinEnv)}} {
		if given.dir == "" {
			continue
		}
		b, err := probe(ctx, who, given.dir)
		if err == nil {
			err = b.fits(major)
		}
		if err != nil {
			return binaries{}, fmt.Errorf("PostgreSQL binaries %s as %s: %w", given.what, given.dir, err)
		}
		return b, nil
	}
	var misfits []string
	for _, dir := range searchPath(cfg) {
		b, err := probe(ctx, who, dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = b.fits(major)
		}
		if err == nil {
			return b, nil
		}
		misfits = append(misfits, fmt.Sprintf("%s: %v", dir, err))
	}
	looked := "looked at $" + BinEnv + ", the usual folders and PATH"
	if cfg.HideSystem {
		looked = "the system's own are hidden by the configuration"
	}
	if len(misfits) > 0 {
		looked += "; " + strings.Join(misfits, "; ")
	}
	missing := &MissingError{Major: major, Looked: looked, Install: installLine(major)}
	if cfg.NoInstall {
		return binaries{}, missing
	}
	return install(ctx, cfg, who, missing)
}

// searchPath lists the folders to look into, in order, without doubles.
func searchPath(cfg Config) []string {
	var dirs []string
	if !cfg.HideSystem {
		for _, pattern := range usualFolders {
			dirs = append(dirs, globByVersion(pattern)...)
		}
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			if path, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil && filepath.IsAbs(path) {
				dirs = append(dirs, filepath.Dir(path))
			}
		}
	}
	if cfg.CacheDir != "" {
		dirs = append(dirs, fetchedDir(cfg.CacheDir))
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		double := seen[dir]
		seen[dir] = true
		return double
	})
}

var numberPattern = regexp.MustCompile(`\d+`)

// globByVersion lists the matches, highest number in place of the star first.
func globByVersion(pattern string) []string {
	matches, _ := filepath.Glob(pattern)
	star := strings.Index(pattern, "*")
	number := func(path string) (n int) {
		n, _ = strconv.Atoi(numberPattern.FindString(path[star:]))
		return n
	}
	slices.SortFunc(matches, func(a, b string) int { return cmp.Compare(number(b), number(a)) })
	return matches
}

// probe asks the binaries in dir for their version, as the user who will run them.
func probe(ctx context.Context, who account, dir string) (binaries, error) {
	b := binaries{dir: dir}
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := os.Stat(b.path(name)); err != nil {
			return b, err
		}
	}
	if err := who.canReach(b.path("postgres")); err != nil {
		return b, err
	}
	out, err := who.command(ctx, "/", b.path("postgres"), "--version").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return b, fmt.Errorf("does not run: %s", strings.TrimSpace(string(exit.Stderr)))
		}
		return b, fmt.Errorf("does not run: %w", err)
	}
	m := versionPattern.FindStringSubmatch(string(out))
	if m == nil {
		return b, fmt.Errorf("says %q for its version", strings.TrimSpace(string(out)))
	}
	b.version = m[1]
	b.major, err = strconv.Atoi(m[2])
	return b, err
}

func (b binaries) fits(major int) error {
	switch {
	case b.major < minMajor:
		return fmt.Errorf("is version %s, %d or newer is needed", b.version, minMajor)
	case major != 0 && b.major != major:
		return fmt.Errorf("is version %s, the cluster needs %d", b.version, major)
	}
	return nil
}

// Find tells which binaries Start would use for that folder, without fetching or changing anything; a MissingError where
// there are none.
func Find(ctx context.Context, cfg Config) (dir, version string, err error) {
	if cfg, err = cfg.withDefaults(); err != nil {
		return "", "", err
	}
	cfg.NoInstall = true
	data := filepath.Join(cfg.Dir, "data")
	who, err := chooseAccount(data)
	if err != nil {
		return "", "", err
	}
	major, err := clusterMajor(data)
	if err != nil {
		return "", "", err
	}
	b, err := findBinaries(ctx, cfg, who, major)
	return b.dir, b.version, err
}
