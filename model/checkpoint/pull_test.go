package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rankloop/rankloop/model"
)

// fakeHub answers as a hub does, and as badly as fault tells it to.
type fakeHub struct {
	*httptest.Server
	mu       sync.Mutex
	files    map[string][]byte
	tree     func(list []map[string]any) any                                       // what the list of files becomes; nil = itself
	fault    func(n int, name string, w http.ResponseWriter, r *http.Request) bool // of the n-th request for a file; true = answered
	etag     string                                                                // of all files
	requests []string                                                              // "name range" of each request for a file
	tokens   map[string]bool
	blind    int // requests for the rest of a file, whatever version it is of by now
}

// newHub serves a model folder.
func newHub(t *testing.T, dir string) *fakeHub {
	t.Helper()
	h := &fakeHub{files: map[string][]byte{}, etag: `"one"`, tokens: map[string]bool{}}
	for _, e := range must(os.ReadDir(dir)) {
		h.files[e.Name()] = must(os.ReadFile(filepath.Join(dir, e.Name())))
	}
	h.files["pytorch_model.bin"], h.files["README.md"], h.files[".gitattributes"] = []byte("pickle"), []byte("hello"), []byte("x")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/models/some/model/tree/{rev}", h.serveTree)
	mux.HandleFunc("GET /some/model/resolve/main/{name}", h.serveFile)
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h
}

func (h *fakeHub) serveTree(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens[r.Header.Get("Authorization")] = true
	list := []map[string]any{{"type": "directory", "path": "onnx", "size": 0, "oid": strings.Repeat("0", 40)}}
	for name, data := range h.files {
		git := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
		f := map[string]any{"type": "file", "path": name, "size": len(data), "oid": fmt.Sprintf("%x", git)}
		if strings.HasSuffix(name, ".safetensors") {
			f["oid"], f["size"] = strings.Repeat("1", 40), 130
			f["lfs"] = map[string]any{"oid": fmt.Sprintf("%x", sha256.Sum256(data)), "size": len(data), "pointerSize": 130}
		}
		list = append(list, f)
	}
	var answer any = list
	if h.tree != nil {
		answer = h.tree(list)
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		panic(err)
	}
}

func (h *fakeHub) serveFile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	h.mu.Lock()
	n, data, etag := len(h.requests), h.files[name], h.etag
	h.requests = append(h.requests, name+" "+r.Header.Get("Range"))
	if r.Header.Get("Range") != "" && r.Header.Get("If-Range") != `"one"` {
		h.blind++
	}
	h.tokens[r.Header.Get("Authorization")] = true
	h.mu.Unlock()
	if h.fault != nil && h.fault(n, name, w, r) {
		return
	}
	if data == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// hub is a client of it that does not wait.
func (h *fakeHub) hub() Hub {
	return Hub{Endpoint: h.URL, Client: h.Client(), Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

// cutWriter breaks the connection after n bytes of content.
type cutWriter struct {
	http.ResponseWriter
	n int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if len(p) > w.n {
		_, _ = w.ResponseWriter.Write(p[:w.n])
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	w.n -= len(p)
	return w.ResponseWriter.Write(p)
}

func servedFolder(t *testing.T, shard int64) (string, *Checkpoint) {
	t.Helper()
	c := &Checkpoint{Model: mustModel(t, smallLlama, model.HeadLM, false), Tokenizer: mustTokenizer(t), Card: Card{Kind: "sft"}}
	dir := filepath.Join(t.TempDir(), "served")
	if err := c.Export(dir, Format{DType: "F32", MaxShard: shard}); err != nil {
		t.Fatal(err)
	}
	return dir, c
}

// TestPull: the folder is the hub's, whole, with the sums of its files, and only what a
// model needs is asked for.
func TestPull(t *testing.T) {
	for _, shard := range []int64{0, 8000} {
		served, c := servedFolder(t, shard)
		h := newHub(t, served)
		to := filepath.Join(t.TempDir(), "new", "model")
		var last, all int64
		hub := h.hub()
		hub.Token = "secret"
		hub.Progress = func(done, total int64) {
			if done < last || done > total {
				t.Errorf("progress from %d to %d of %d", last, done, total)
			}
			last, all = done, total
		}
		got, err := hub.Pull(t.Context(), "some/model", "main", to)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Load(to)
		if err != nil {
			t.Fatal(err)
		}
		if !sameWeights(back.Model, c.Model) || back.Tokenizer.Digest() != c.Tokenizer.Digest() || back.Card.Kind != "sft" {
			t.Error("another model")
		}
		if d := mustDigest(t, to); d != mustDigest(t, served) || d != got.Digest {
			t.Errorf("digest %s, said to be %s", d, got.Digest)
		}
		if last != all || all != got.Bytes || len(got.Files) != len(must(os.ReadDir(to)))-1 {
			t.Errorf("progress ends at %d of %d; %+v", last, all, got)
		}
		if entries := must(os.ReadDir(filepath.Dir(to))); len(entries) != 1 {
			t.Errorf("left beside the folder: %v", entries)
		}
		for _, r := range h.requests {
			if name := strings.Fields(r)[0]; strings.HasSuffix(name, ".bin") || name == "README.md" || name == sumsName {
				t.Errorf("asked for %s", name)
			}
		}
		if !h.tokens["Bearer secret"] || len(h.tokens) != 1 {
			t.Errorf("credentials %v", h.tokens)
		}
		if _, err := hub.Pull(t.Context(), "some/model", "main", to); !errors.Is(err, fs.ErrExist) {
			t.Errorf("over a folder: %v", err)
		}
	}
}

// TestPullCut: connections that break at any byte, within a pull and between pulls; it
// goes on where it was.
func TestPullCut(t *testing.T) {
	served, _ := servedFolder(t, 8000)
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 12 {
		h := newHub(t, served)
		cuts := 0
		h.fault = func(_ int, name string, w http.ResponseWriter, r *http.Request) bool {
			h.mu.Lock()
			data, cut := h.files[name], cuts < 40
			n := 0
			if cut {
				n = rng.IntN(6000)
				cuts++
			}
			h.mu.Unlock()
			if !cut {
				return false
			}
			w.Header().Set("ETag", h.etag)
			http.ServeContent(&cutWriter{w, n}, r, "", time.Time{}, bytes.NewReader(data))
			return true
		}
		to := filepath.Join(t.TempDir(), "model")
		hub := h.hub()
		pulls := 1
		if round%2 == 1 { // a pull that is killed now and then, and started again
			left := rng.IntN(20)
			hub.Sleep = func(context.Context, time.Duration) error {
				if left--; left < 0 {
					left = rng.IntN(20)
					return context.Canceled
				}
				return nil
			}
			pulls = 40
		}
		var err error
		for ; pulls > 0; pulls-- {
			if _, err = hub.Pull(t.Context(), "some/model", "main", to); err == nil {
				break
			}
			if _, there := os.Stat(to); there == nil {
				t.Fatal("a folder that is not whole")
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if mustDigest(t, to) != mustDigest(t, served) {
			t.Error("another folder")
		}
		ranges := 0
		for _, r := range h.requests {
			if strings.Contains(r, "bytes=") {
				ranges++
			}
		}
		if cuts < 10 || ranges < 5 || h.blind > 0 {
			t.Errorf("%d cuts, %d requests for the rest of a file, %d of any version", cuts, ranges, h.blind)
		}
	}
}

// TestPullServers: what other servers do wrong or differently.
func TestPullServers(t *testing.T) {
	served, _ := servedFolder(t, 0)
	half := func(h *fakeHub, name string, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("ETag", h.etag)
		http.ServeContent(&cutWriter{w, len(h.files[name]) / 2}, r, "", time.Time{}, bytes.NewReader(h.files[name]))
		return true
	}
	weightsAsked := func(h *fakeHub) (n int) {
		for _, r := range h.requests {
			if strings.HasPrefix(r, weightsName) {
				n++
			}
		}
		return n
	}
	for name, c := range map[string]struct {
		fault func(h *fakeHub) func(n int, name string, w http.ResponseWriter, r *http.Request) bool
		tree  func(list []map[string]any) any
		want  string // part of the error, empty = none
	}{
		"no ranges": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("Range")
				return name == weightsName && weightsAsked(h) < 3 && half(h, name, w, r)
			}
		}},
		"never whole": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("Range")
				return name == weightsName && half(h, name, w, r)
			}
		}, want: "given up after 8 tries"},
		"another version in between": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool {
				if name != weightsName || weightsAsked(h) > 1 {
					return false
				}
				defer func() { h.etag = `"two"` }()
				return half(h, name, w, r)
			}
		}},
		"the wrong range": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool {
				if name == weightsName && weightsAsked(h) == 1 {
					return half(h, name, w, r)
				}
				if weightsAsked(h) == 2 && r.Header.Get("Range") != "" {
					r.Header.Set("Range", "bytes=1-")
				}
				return false
			}
		}},
		"busy": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool {
				if n%2 == 1 {
					return false
				}
				w.Header().Set("Retry-After", "1")
				w.WriteHeader([]int{429, 500, 503}[n/2%3])
				return true
			}
		}},
		"always busy": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(503); return true }
		}, want: "given up after 8 tries"},
		"gone": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(404); return true }
		}, want: "misspelt"},
		"gated": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool {
				if name == weightsName {
					w.WriteHeader(401)
				}
				return name == weightsName
			}
		}, want: "HF_TOKEN"},
		"other content": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool {
				other := slices.Clone(h.files[name])
				other[len(other)/2] ^= 1
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(other))
				return true
			}
		}, want: "its digest is"},
		"shorter": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool {
				_, _ = w.Write(h.files[name][1:])
				return true
			}
		}, want: "bytes where it lists"},
		"longer, of unknown length": {fault: func(h *fakeHub) func(int, string, http.ResponseWriter, *http.Request) bool {
			return func(n int, name string, w http.ResponseWriter, r *http.Request) bool {
				_ = http.NewResponseController(w).Flush()
				_, _ = w.Write(append(slices.Clone(h.files[name]), 0))
				return true
			}
		}, want: "more than the"},
		"list is no list":   {tree: func([]map[string]any) any { return "x" }, want: "list of files"},
		"list is too long":  {tree: func([]map[string]any) any { return strings.Repeat("x", maxListing) }, want: "more than"},
		"no digest":         {tree: edit("config.json", "oid", ""), want: "no digest"},
		"a digest too many": {tree: edit("config.json", "oid", strings.Repeat("0", 64)), want: "its digest is"},
		"negative size":     {tree: edit("config.json", "size", -1), want: "over the limit"},
		"huge size":         {tree: edit("tokenizer.json", "size", 1<<40), want: "over the limit"},
		"no room":           {tree: edit(weightsName, "lfs", map[string]any{"oid": strings.Repeat("0", 64), "size": int64(1) << 41}), want: "the weights need"},
		"twice":             {tree: func(list []map[string]any) any { return append(list, list...) }, want: "twice"},
		"only pickle":       {tree: edit(weightsName, "path", "weights.txt"), want: "pickled"},
		"no config":         {tree: edit("config.json", "path", "x"), want: "config.json"},
		"path out of the folder": {tree: func(list []map[string]any) any {
			return append(list, map[string]any{"type": "file", "path": "../model.safetensors", "size": 1, "oid": ""},
				map[string]any{"type": "file", "path": "/etc/x.safetensors", "size": 1, "oid": ""})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, served)
			h.tree = c.tree
			if c.fault != nil {
				h.fault = c.fault(h)
			}
			to := filepath.Join(t.TempDir(), "model")
			_, err := h.hub().Pull(t.Context(), "some/model", "main", to)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if mustDigest(t, to) != mustDigest(t, served) {
					t.Error("another folder")
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if _, err := os.Stat(to); err == nil {
				t.Error("there is a folder")
			}
			h.fault, h.tree = nil, nil // and when all is well again
			if _, err := h.hub().Pull(t.Context(), "some/model", "main", to); err != nil || mustDigest(t, to) != mustDigest(t, served) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// edit changes a field of one file in the list.
func edit(name, field string, value any) func([]map[string]any) any {
	return func(list []map[string]any) any {
		for _, f := range list {
			if f["path"] == name {
				f[field] = value
			}
		}
		return list
	}
}

// TestPullLooksFirst: a model that cannot be used is refused before its weights are
// fetched, one whose weights are another's before there is a folder.
func TestPullLooksFirst(t *testing.T) {
	served, _ := servedFolder(t, 0)
	h := newHub(t, served)
	good := h.files[configName]
	h.files[configName] = bytes.Replace(good, []byte(`"llama"`), []byte(`"mamba"`), 1)
	to := filepath.Join(t.TempDir(), "model")
	if _, err := h.hub().Pull(t.Context(), "some/model", "main", to); err == nil || !strings.Contains(err.Error(), "mamba") {
		t.Errorf("error %v", err)
	}
	for _, r := range h.requests {
		if strings.HasPrefix(r, weightsName) {
			t.Error("the weights were fetched all the same")
		}
	}
	// What the hub has no more by the next time is not there either.
	tok := h.files["tokenizer.json"]
	h.files[configName], h.files["tokenizer.json"] = good, []byte("{")
	if _, err := h.hub().Pull(t.Context(), "some/model", "main", to); err == nil {
		t.Error("pulled with a broken tokenizer")
	}
	delete(h.files, "tokenizer.json")
	if _, err := h.hub().Pull(t.Context(), "some/model", "main", to); err != nil {
		t.Error(err)
	} else if got := must(Load(to)); got.Tokenizer != nil {
		t.Error("a tokenizer that the hub has no more")
	}
	h.files["tokenizer.json"], to = tok, filepath.Join(t.TempDir(), "model")
	h.files[configName] = bytes.Replace(good, []byte(`"num_hidden_layers": 2`), []byte(`"num_hidden_layers": 1`), 1)
	var bad *TensorsError
	if _, err := h.hub().Pull(t.Context(), "some/model", "main", to); !errors.As(err, &bad) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(to); err == nil {
		t.Error("there is a folder")
	}
}

// permanent is what a client says that will not do something however often it is asked.
type permanent struct{ tries int }

func (p *permanent) Error() string                                   { return "never" }
func (p *permanent) Permanent() bool                                 { return true }
func (p *permanent) RoundTrip(*http.Request) (*http.Response, error) { p.tries++; return nil, p }

// TestPullRetries: waits grow, the hub's wish goes first, and what is in vain is not
// tried again.
func TestPullRetries(t *testing.T) {
	served, _ := servedFolder(t, 0)
	h := newHub(t, served)
	h.fault = func(n int, _ string, w http.ResponseWriter, _ *http.Request) bool {
		if n == 1 {
			w.Header().Set("Retry-After", "7")
		}
		w.WriteHeader(503)
		return true
	}
	var waits []time.Duration
	told := 0
	hub := h.hub()
	hub.Sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
	hub.Retry = func(error, time.Duration) { told++ }
	var answer *HubError
	if _, err := hub.Pull(t.Context(), "some/model", "main", filepath.Join(t.TempDir(), "x")); !errors.As(err, &answer) || answer.Status != 503 {
		t.Errorf("error %v", err)
	}
	second := time.Second
	if want := []time.Duration{second / 2, 7 * second, 2 * second, 4 * second, 8 * second, 16 * second, 30 * second}; !slices.Equal(waits, want) || told != len(want) {
		t.Errorf("waits %v, want %v; told %d times", waits, want, told)
	}
	never := &permanent{}
	hub.Client = &http.Client{Transport: never}
	if _, err := hub.Pull(t.Context(), "some/model", "main", filepath.Join(t.TempDir(), "x")); !errors.Is(err, never) || never.tries != 1 {
		t.Errorf("error %v after %d tries", err, never.tries)
	}
}

// TestPullRefuses: names and endpoints that would go elsewhere.
func TestPullRefuses(t *testing.T) {
	served, _ := servedFolder(t, 0)
	h := newHub(t, served)
	for _, c := range []struct{ name, revision, endpoint, token string }{
		{"", "main", h.URL, ""}, {"../x", "main", h.URL, ""}, {"a/b/c", "main", h.URL, ""}, {"a/..", "main", h.URL, ""}, {"a/b?x=1", "main", h.URL, ""},
		{"some/model", "", h.URL, ""}, {"some/model", "../../x", h.URL, ""}, {"some/model", "a b", h.URL, ""},
		{"some/model", "main", "", ""}, {"some/model", "main", "ftp://x", ""}, {"some/model", "main", "https://", ""}, {"some/model", "main", "http://example.org", "secret"},
	} {
		hub := h.hub()
		hub.Endpoint, hub.Token = c.endpoint, c.token
		var bad *InvalidError
		if _, err := hub.Pull(t.Context(), c.name, c.revision, filepath.Join(t.TempDir(), "x")); !errors.As(err, &bad) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if len(h.requests) > 0 {
		t.Errorf("requests %v", h.requests)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.hub().Pull(ctx, "some/model", "main", filepath.Join(t.TempDir(), "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
