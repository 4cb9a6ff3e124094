package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rankloop/rankloop/web/account"
)

// openBrowser opens a window of a browser. Without one the test is skipped, aloud; with CI=true it fails.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if p := os.Getenv("RANKLOOP_CHROMIUM"); p != "" {
		path, err = exec.LookPath(p)
	}
	if err != nil {
		const what = "NO CHROMIUM: the first run was not tested in a browser. Install it or set RANKLOOP_CHROMIUM."
		if os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	return ctx
}

// TestFirstRun: from an empty database to the first task on a labeler's screen, through the pages, with the jobs running: an admin is made
// on the command line, signs in, writes the project's instructions, imports prompts, has tasks made of them, and ranks one.
func TestFirstRun(t *testing.T) {
	a := newTestApp(t, appConfig{Work: true})
	ctx := t.Context()
	server, err := a.listen(ctx, "127.0.0.1:0", serverOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	stop, err := a.startWorkers(deadAfter)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	_, password, err := a.accounts.CreateUser(ctx, account.NewUser{Email: "ada@example.com", Role: account.RoleOwner, Actor: "command line"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "prompts.jsonl")
	if err := os.WriteFile(file, []byte(`{"prompt":"Tell a story about a fox and a drum."}`+"\n"+`{"prompt":"Tell a story about an owl."}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	b := openBrowser(t)
	page := "http://" + server.Addr()
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		limit, cancel := context.WithTimeout(b, time.Minute)
		defer cancel()
		if err := chromedp.Do(limit, steps...); err != nil {
			said, _ := chromedp.Run(b, chromedp.Evaluate[string](`location.pathname + ": " + document.body.innerText.slice(0, 800)`)) // the window may be gone too
			t.Fatalf("%v: %s", err, said)
		}
	}
	// until reads the page again until it holds: jobs work meanwhile.
	until := func(path, js string) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); ; {
			if path != "" {
				do(chromedp.Navigate(page + path))
			}
			if ok, err := chromedp.Run(b, chromedp.Evaluate[bool](js)); err == nil && ok {
				return
			}
			if time.Now().After(deadline) {
				said, err := chromedp.Run(b, chromedp.Evaluate[string](`document.body.innerText.slice(0, 800)`))
				t.Fatalf("still not %s: %s %v", js, said, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	do(chromedp.Navigate(page+"/"), chromedp.SendKeys(chromedp.CSS("#email"), "ada@example.com"), chromedp.SendKeys(chromedp.CSS("#password"), password+"\n"))
	until("", `location.pathname === "/admin"`)

	project := "/admin/projects/" + a.project.ID
	do(chromedp.Navigate(page+"/admin/projects"), chromedp.Click(chromedp.CSS(`a[href="`+project+`"]`)))
	until("", `document.querySelector("#instructions")`+`!== null && location.pathname === "`+project+`"`)
	do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#instructions").value = "Rank the kinder story first."`), chromedp.Click(chromedp.CSS(`form:has(#instructions) button.primary`)))
	until(project, `document.querySelector("#instructions").value === "Rank the kinder story first."`)

	do(chromedp.Navigate(page+"/admin/import"), chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}), chromedp.Click(chromedp.CSS(`form[action="/admin/import"] button.primary`)))
	until("/admin/import", `document.querySelector("table .tag.now") !== null`)
	do(chromedp.Navigate(page+project), chromedp.Click(chromedp.CSS(`form[action="`+project+`/tasks"] button`)))
	until(project, `/[1-9]\d* tasks are open/.test(document.body.innerText)`)
	do(chromedp.Navigate(page + "/label?project=" + a.project.ID))
	until("", `document.querySelectorAll(".card").length >= 2`)
	if dir := os.Getenv("RANKLOOP_SHOTS"); dir != "" {
		if img, err := chromedp.Run(b, chromedp.CaptureScreenshot()); err == nil {
			err = os.WriteFile(filepath.Join(dir, t.Name()+".png"), img, 0o644)
			if err != nil {
				t.Log(err)
			}
		}
	}
}
