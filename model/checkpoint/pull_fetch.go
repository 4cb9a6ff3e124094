package checkpoint

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxTries  = 8                // in a row without a new byte
	firstWait = time.Second / 2  // before the second try; doubled each time
	maxWait   = 30 * time.Second // between two tries
	maxIdle   = time.Minute      // without a byte before a connection is given up
)

// HubError is an answer of a hub that is no success.
type HubError struct {
	Status int
	URL    string
	token  bool // whether one was sent
	wait   time.Duration
}

func (e *HubError) Error() string {
	text := fmt.Sprintf("%s answers %d %s", e.URL, e.Status, http.StatusText(e.Status))
	switch {
	case (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) && e.token:
		return text + ": the token in HF_TOKEN may not read this model; where its makers ask for consent to terms, give it on the model's page"
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		return text + ": there is no such model, or it is private or gated: put a token of your account into the environment variable HF_TOKEN"
	case e.Status == http.StatusNotFound:
		return text + ": is the name, such as openai-community/gpt2, or the revision misspelt? Private models need a token in HF_TOKEN"
	}
	return text
}

// temporary says whether the same request may do better later.
func (e *HubError) temporary() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Status >= 500
}

// open sends a request and returns an answer of one of the statuses accepted. base is
// the URL without what a query might give away.
func (h Hub) open(ctx context.Context, path string, header http.Header, accepted ...int) (*http.Response, error) {
	endpoint, err := url.Parse(strings.TrimSuffix(h.Endpoint, "/"))
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "https" && endpoint.Scheme != "http" || endpoint.RawQuery != "" {
		return nil, invalid("endpoint", "%q is not an address such as https://huggingface.co", h.Endpoint)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint.String()+path, nil)
	if err != nil {
		return nil, invalid("endpoint", "%v", err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Accept-Encoding", "identity") // lengths and ranges are of the content itself
	if h.Token != "" {
		if endpoint.Scheme != "https" && !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, endpoint.Hostname()) {
			return nil, invalid("endpoint", "a token is not sent over http")
		}
		req.Header.Set("Authorization", "Bearer "+h.Token)
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(accepted, resp.StatusCode) {
		resp.Body.Close()
		e := &HubError{Status: resp.StatusCode, URL: endpoint.String() + path, token: h.Token != ""}
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
			e.wait = min(time.Duration(s)*time.Second, 2*maxWait)
		}
		return nil, e
	}
	return resp, nil
}

// retry calls try until it succeeds, fails for good, or has failed maxTries times
// without getting further. try returns how far it has got.
func (h Hub) retry(ctx context.Context, try func() (at int64, err error)) error {
	best, failures, wait := int64(-1), 0, firstWait
	for {
		at, err := try()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		var answer *HubError
		if errors.As(err, &answer); inVain(err) {
			return err
		}
		if at > best {
			best, failures, wait = at, 0, firstWait
		}
		if failures++; failures == maxTries {
			return fmt.Errorf("given up after %d tries: %w", maxTries, err)
		}
		d := wait
		if answer != nil && answer.wait > 0 {
			d = answer.wait
		}
		if h.Retry != nil {
			h.Retry(err, d)
		}
		if err := h.sleep(ctx, d); err != nil {
			return err
		}
		wait = min(2*wait, maxWait)
	}
}

// inVain says whether trying again can not help: the hub's answer is final, what came
// is wrong, the disk or the name is at fault, or the client says so by a method
// Permanent.
func inVain(err error) bool {
	var answer *HubError
	var bad *InvalidError
	var name *net.DNSError
	var permanent interface{ Permanent() bool }
	switch {
	case errors.As(err, &answer):
		return !answer.temporary()
	case errors.As(err, &name):
		return name.IsNotFound
	case errors.As(err, &permanent):
		return permanent.Permanent()
	}
	return errors.As(err, &bad) || errors.Is(err, ErrCorrupt) || errors.Is(err, errDisk)
}

func (h Hub) sleep(ctx context.Context, d time.Duration) error {
	if h.Sleep != nil {
		return h.Sleep(ctx, d)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// get reads a whole answer of at most limit bytes.
func (h Hub) get(ctx context.Context, path string, limit int64) (body []byte, err error) {
	err = h.retry(ctx, func() (int64, error) {
		resp, err := h.open(ctx, path, nil, http.StatusOK)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		if body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err == nil && int64(len(body)) > limit {
			err = corrupt("an answer of more than %d bytes", limit)
		}
		return 0, err
	})
	return body, err
}

// staging is the folder in which a pulled model comes together: parts/DIGEST is what
// there is of the file of that digest, parts/DIGEST.etag the hub's name of its version,
// model/NAME a file that is whole and has been checked.
type staging struct {
	hub         Hub
	dir         string
	root        *os.Root // nothing outside is ever opened
	from        string   // path of the files at the hub
	sums        sums
	done, total int64
}

const stagedModel = "model"

func (h Hub) stage(dir, name, revision string) (*staging, error) {
	for _, sub := range []string{stagedModel, "parts"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &staging{hub: h, dir: dir, root: root, from: "/" + name + "/resolve/" + url.PathEscape(revision) + "/", sums: sums{}}, nil
}

// expect adds files to what there is to fetch.
func (s *staging) expect(files []hubFile) {
	for _, f := range files {
		s.total += f.size
	}
}

func (s *staging) progress(n int64) {
	if s.done += n; s.hub.Progress != nil {
		s.hub.Progress(s.done, s.total)
	}
}

// keepOnly removes files of an earlier pull that the hub does not list any more.
func (s *staging) keepOnly(listed map[string]hubFile) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, stagedModel))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := listed[e.Name()]; !ok {
			if err := s.root.RemoveAll(stagedModel + "/" + e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// room says whether the disk can take the files.
func (s *staging) room(files []hubFile) error {
	need := int64(0)
	for _, f := range files {
		need += f.size
		for _, name := range []string{"parts/" + f.digest, stagedModel + "/" + f.name} {
			if info, err := s.root.Stat(name); err == nil {
				need -= min(info.Size(), f.size)
			}
		}
	}
	if free, ok := freeSpace(s.dir); ok && need > free {
		return fmt.Errorf("%w: the weights need %d MB more, %s has %d MB", errDisk, need/1e6, s.dir, free/1e6)
	}
	return nil
}

// errDisk marks a failure that is not the network's.
var errDisk = errors.New("the disk")

// fetch gets one file, from where an earlier try has come to.
func (s *staging) fetch(ctx context.Context, f hubFile) error {
	final, part := stagedModel+"/"+f.name, "parts/"+f.digest
	if err := s.check(final, f); err == nil {
		s.progress(f.size)
		return nil
	}
	start, broken := s.done, false
	err := s.hub.retry(ctx, func() (int64, error) {
		at, err := s.download(ctx, f, part, start)
		if err != nil {
			return at, err
		}
		err = s.check(part, f)
		if errors.Is(err, ErrCorrupt) { // a part of an earlier version, perhaps: once more from the start
			_ = s.root.Remove(part)
			if !broken {
				broken = true
				return -1, fmt.Errorf("once more: %v", err)
			}
		}
		return at, err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	if err := s.root.Rename(part, final); err != nil {
		return err
	}
	return s.root.RemoveAll(part + ".etag")
}

// download appends to a part what is missing of a file, and says how much is there.
func (s *staging) download(ctx context.Context, f hubFile, part string, start int64) (at int64, err error) {
	out, err := s.root.OpenFile(part, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errDisk, err)
	}
	defer out.Close()
	if at, err = out.Seek(0, io.SeekEnd); err != nil {
		return 0, fmt.Errorf("%w: %w", errDisk, err)
	}
	again := func() error { // from the start
		at = 0
		s.progress(start - s.done)
		_, err := out.Seek(0, io.SeekStart)
		return errors.Join(err, out.Truncate(0))
	}
	if at > f.size {
		if err := again(); err != nil {
			return 0, fmt.Errorf("%w: %w", errDisk, err)
		}
	}
	s.progress(start + at - s.done)
	if at == f.size && at > 0 {
		return at, nil
	}
	header := http.Header{}
	etag, _ := s.root.ReadFile(part + ".etag")
	if at > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", at))
		if len(etag) > 0 {
			header.Set("If-Range", string(etag))
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	idle := time.AfterFunc(maxIdle, func() { stop(fmt.Errorf("no byte for %s", maxIdle)) })
	defer idle.Stop()
	resp, err := s.hub.open(ctx, s.from+url.PathEscape(f.name), header, http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return at, err
	}
	defer resp.Body.Close()
	from := fmt.Sprintf("bytes %d-%d/%d", at, f.size-1, f.size)
	switch {
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable,
		resp.StatusCode == http.StatusPartialContent && resp.Header.Get("Content-Range") != from:
		if err := again(); err != nil {
			return 0, fmt.Errorf("%w: %w", errDisk, err)
		}
		_ = s.root.Remove(part + ".etag")
		return 0, errors.New("the file has changed at the hub")
	case resp.StatusCode == http.StatusOK && at > 0:
		if err := again(); err != nil {
			return 0, fmt.Errorf("%w: %w", errDisk, err)
		}
	}
	if resp.ContentLength >= 0 && resp.ContentLength != f.size-at {
		return at, corrupt("the hub sends %d bytes where it lists %d", resp.ContentLength, f.size-at)
	}
	if now := resp.Header.Get("ETag"); strings.HasPrefix(now, `"`) { // a strong one
		if err := s.root.WriteFile(part+".etag", []byte(now), 0o600); err != nil {
			return at, fmt.Errorf("%w: %w", errDisk, err)
		}
	}
	buf := make([]byte, chunk)
	for {
		n, readErr := resp.Body.Read(buf)
		idle.Reset(maxIdle)
		if at+int64(n) > f.size {
			return at, corrupt("the hub sends more than the %d bytes it lists", f.size)
		}
		if _, err := out.Write(buf[:n]); err != nil {
			return at, fmt.Errorf("%w: %w", errDisk, err)
		}
		at += int64(n)
		s.progress(int64(n))
		switch {
		case readErr == io.EOF && at == f.size:
			return at, nil
		case readErr == io.EOF:
			return at, io.ErrUnexpectedEOF
		case readErr != nil && context.Cause(ctx) != nil:
			return at, context.Cause(ctx)
		case readErr != nil:
			return at, readErr
		}
	}
}

// check compares a file with what the hub lists, and remembers its SHA-256.
func (s *staging) check(path string, f hubFile) error {
	file, err := s.root.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	content, blob := sha256.New(), sha1.New()
	fmt.Fprintf(blob, "blob %d\x00", f.size) // what git hashes before the content
	both := io.Writer(content)
	if len(f.digest) == 2*sha1.Size {
		both = io.MultiWriter(content, blob)
	}
	n, err := io.Copy(both, file)
	if err != nil {
		return err
	}
	sum := hex.EncodeToString(content.Sum(nil))
	got := sum
	if len(f.digest) == 2*sha1.Size {
		got = hex.EncodeToString(blob.Sum(nil))
	}
	if n != f.size || got != f.digest {
		return corrupt("its digest is %s, the hub lists %s", got, f.digest)
	}
	s.sums[f.name] = sum
	return nil
}

// publish moves the files into the folder dir, which appears with all of them.
func (s *staging) publish(dir string, files []hubFile) error {
	d := disk{}
	exists := func() error { return fmt.Errorf("%s holds something by now: %w", dir, fs.ErrExist) }
	return d.writeDir(dir, exists, func(tmp string) error {
		for _, f := range files {
			if err := os.Rename(filepath.Join(s.dir, stagedModel, f.name), filepath.Join(tmp, f.name)); err != nil {
				return err
			}
		}
		if err := d.createFile(filepath.Join(tmp, sumsName), s.sums.encode()); err != nil {
			return err
		}
		return d.syncFiles(tmp)
	})
}
