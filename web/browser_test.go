package web

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium finds a browser: the one without a window of its own first, which does the same in two thirds of the time. Without one the test is skipped, aloud; with CI=true it fails.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("RANKLOOP_CHROMIUM"), "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const what = "NO CHROMIUM: the pages were not tested in a browser. Install it (Debian: apt-get install chromium) or set RANKLOOP_CHROMIUM."
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	fmt.Fprintln(os.Stderr, t.Name()+": "+what)
	t.Skip(what)
	return ""
}

// One browser serves all tests; each has a profile and cookies of its own.
var shared struct {
	once  sync.Once
	ctx   context.Context
	err   error
	close func()
}

func browserContext(t *testing.T) context.Context {
	t.Helper()
	path := chromium(t)
	shared.once.Do(func() {
		dir, err := os.MkdirTemp("", "rankloop-browser-")
		if err != nil {
			shared.err = err
			return
		}
		opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
			chromedp.UserDataDir(dir), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
		alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
		ctx, cancel := chromedp.NewContext(alloc)
		shared.ctx, shared.err = ctx, chromedp.Do(ctx, chromedp.Navigate("about:blank"))
		shared.close = func() { cancel(); stop(); os.RemoveAll(dir) }
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.ctx
}

func closeBrowser() {
	if shared.close != nil {
		shared.close()
	}
}

// tab is a browser window on the world's server. Scripts that fail, refusals by the content security policy, dialogs and
// requests to other hosts fail the test.
type tab struct {
	*testing.T
	ctx context.Context
	w   *world

	home string // the server's address, which it keeps when it comes back

	mu      sync.Mutex
	wrong   []string
	allowed []string // parts of console errors that the test causes on purpose
}

func (w *world) open(width, height int64, dark bool) *tab {
	w.Helper()
	ctx, cancel := chromedp.NewContext(browserContext(w.T), chromedp.WithNewBrowserContext())
	b := &tab{T: w.T, ctx: ctx, w: w, home: w.http.URL}
	w.Cleanup(cancel)
	w.must(chromedp.Do(ctx, chromedp.Navigate("about:blank")))
	w.must(chromedp.Listen(ctx, b.hear))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	w.must(err)
	_, err = chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}) // other tests have tabs too
	w.must(err)
	b.size(width, height)
	if dark {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
		w.must(err)
	}
	w.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, what := range b.wrong {
			w.Error("browser: " + what)
		}
	})
	return b
}

func (b *tab) hear(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	complain := func(s string) {
		for _, part := range b.allowed {
			if strings.Contains(s, part) {
				return
			}
		}
		b.wrong = append(b.wrong, s)
	}
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		complain("exception: " + e.ExceptionDetails.Text + fmt.Sprint(e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" {
			complain("console: " + e.Entry.Text + " " + e.Entry.URL)
		}
	case *page.EventJavascriptDialogOpening:
		complain("dialog: " + e.Message)
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !strings.HasPrefix(u, b.home) && !strings.HasPrefix(u, "about:") && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "blob:") {
			complain("request to " + u)
		}
	}
}

// allow lets the console complain about what the test does on purpose.
func (b *tab) allow(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = append(b.allowed, part)
}

func (b *tab) size(width, height int64) {
	b.Helper()
	opts := []chromedp.EmulateViewportOption{}
	if width < 500 {
		opts = append(opts, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2))
	}
	b.do(chromedp.EmulateViewport(width, height, opts...))
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 40*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.shot("failed")
		b.Fatal(err)
	}
}

func (b *tab) visit(path string) { b.Helper(); b.do(chromedp.Navigate(b.w.http.URL + path)) }

// before runs a script in every page from now on, before the page's own.
func (b *tab) before(script string) {
	b.Helper()
	_, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
	b.w.must(err)
}

// signIn goes through the page.
func (b *tab) signIn(email string) {
	b.Helper()
	b.visit("/login")
	b.do(chromedp.SendKeys(chromedp.CSS("#email"), email), chromedp.SendKeys(chromedp.CSS("#password"), testPassword+"\n"))
	b.until(`location.pathname !== "/login" && document.readyState === "complete"`)
}

// until waits for a condition on the page. The page itself looks, every few milliseconds and for a while at a time: asking it
// from here as often would cost more than what most tests do.
func (b *tab) until(js string) {
	b.Helper()
	look := `new Promise((done) => {
		const later = window.realTimeout || setTimeout;
		let left = 60;
		const look = () => {
			let ok = false;
			try { ok = Boolean(` + js + `); } catch { /* not yet */ }
			if (ok || --left < 0) done(ok); else later(look, 8);
		};
		look();
	})`
	deadline := time.Now().Add(30 * time.Second)
	for {
		ok, err := b.promised(look)
		if ok {
			return
		}
		if time.Now().After(deadline) {
			b.shot("failed")
			b.Fatalf("still not %s (%v); page says: %s", js, err, eval[string](b, `document.body.innerText.slice(0, 600)`))
		}
		if err != nil { // a page that goes away takes the promise with it
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// promised is what a promise of the page comes to.
func (b *tab) promised(js string) (bool, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 3*time.Second)
	defer cancel()
	got, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: js, AwaitPromise: ptr(true), ReturnByValue: ptr(true)})
	if err != nil {
		return false, err
	}
	if got.ExceptionDetails != nil {
		return false, errors.New(got.ExceptionDetails.Text)
	}
	return string(got.Result.Value) == "true", nil
}

func ptr[T any](v T) *T { return &v }

// drawn waits until the page has loaded and what its scripts have changed is painted.
func (b *tab) drawn() {
	b.Helper()
	b.until(`document.readyState === "complete"`)
	eval[bool](b, `window.paintedAt = 0; document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => { window.paintedAt = performance.now(); })))); true`)
	b.until(`window.paintedAt && document.getAnimations().every((a) => a.playState !== "running" || a.effect.getComputedTiming().iterations === Infinity)`)
}

func eval[T any](b *tab, js string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.Fatalf("%s: %v", js, err)
	}
	return v
}

// keys types on the page, not into a field.
func (b *tab) keys(s string) {
	b.Helper()
	for _, r := range s {
		b.do(chromedp.KeyEvent(string(r)))
	}
}

// shot keeps a picture of the window in $RANKLOOP_SHOTS.
func (b *tab) shot(name string) { b.picture(name, chromedp.CaptureScreenshot()) }

// wholeShot keeps one of the whole page.
func (b *tab) wholeShot(name string) { b.picture(name, chromedp.FullScreenshot(100)) }

func (b *tab) picture(name string, take chromedp.Action[[]byte]) {
	dir := os.Getenv("RANKLOOP_SHOTS")
	if dir == "" {
		return
	}
	img, err := chromedp.Run(b.ctx, take)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(b.Name(), "/", "-")+"-"+name+".png"), img, 0o644)
	}
	if err != nil {
		b.Log("screenshot: ", err)
	}
}

func (b *tab) fitsWidth() {
	b.Helper()
	if over := eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		b.Errorf("%s: page is %d px wider than the window: %s", eval[string](b, `location.pathname`), over, eval[string](b, `[...document.querySelectorAll("main *")]
			.filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth && !e.closest(".scroll, pre"))
			.map((e) => e.outerHTML.slice(0, 80)).slice(0, 5).join(" | ")`))
	}
}
