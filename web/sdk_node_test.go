package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/account"
)

// TestOfficialNodeSDK drives the API with OpenAI's client for JavaScript, which is looked for in $RANKLOOP_NPM/node_modules. Without it the
// test is skipped, aloud; with CI=true it fails.
func TestOfficialNodeSDK(t *testing.T) {
	t.Parallel()
	modules := filepath.Join(os.Getenv("RANKLOOP_NPM"), "node_modules")
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(modules, "openai", "package.json"))
	}
	if err != nil {
		const what = "NO OPENAI CLIENT FOR NODE: run npm install --prefix DIR openai and set RANKLOOP_NPM=DIR."
		if os.Getenv("CI") == "true" {
			t.Fatal(what, err)
		}
		t.Skip(what, err)
	}
	w := newWorld(t)
	_, key := w.key("acme")
	_, narrow := w.key("narrow", func(n *account.NewKey) { n.Scopes = []string{account.ScopeReward} })
	_, tight := w.key("tight", func(n *account.NewKey) { n.TPM = 60 })
	cmd := exec.CommandContext(t.Context(), node, filepath.Join("testdata", "sdk", "contract.cjs"))
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "URL="+w.http.URL+"/v1", "KEY="+key, "NARROW="+narrow, "TIGHT="+tight, "MODEL="+w.version.Name, "VERSION="+w.version.ID)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "ok ") != 6 {
		t.Errorf("%v\n%s", err, out)
	}
}
