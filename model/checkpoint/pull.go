package checkpoint

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rankloop/rankloop/model/token"
)

// Hub is a place that models are pulled from: Hugging Face's, or one that answers as
// it does.
type Hub struct {
	Endpoint string       // such as https://huggingface.co
	Token    string       // of an account, for private and gated models; "" = none
	Client   *http.Client // guards where connections go; it must not send Token to other hosts when redirected

	Progress func(done, total int64)             // told of the bytes that are here; nil = nobody
	Retry    func(err error, wait time.Duration) // told of what failed and is tried again; nil = nobody

	// Sleep waits between tries, 0.5 s at first and twice that each time; nil = by the
	// clock.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Limits of what is pulled.
const (
	maxPullSmall = 64 << 20 // bytes of a file that is not weights
	maxPullAll   = 1 << 42  // bytes of a model
	maxListing   = 32 << 20 // bytes of the list of a model's files
)

// Names and revisions of models, as Hugging Face has them.
var (
	modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$`)
	revisions = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)
)

// smallFiles are the files of a model folder besides the weights: only these and
// safetensors are ever asked for, never anything that could hold code.
var smallFiles = []string{configName, generationName, cardName, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
	"vocab.json", "merges.txt", "tokenizer.model"}

// Pulled says what Pull has put into a folder.
type Pulled struct {
	Files  []string
	Bytes  int64
	Digest string // of the folder
}

// Pull fetches a model into the folder dir, which must not be there or be empty. What
// has arrived is kept beside it, in ".pull-" and its name, until all is there, so that a
// pull that was cut off goes on where it was, in another process too. Each file's
// length and digest (SHA-256 of large ones, git's SHA-1 of small ones) are those that
// the hub lists. The folder appears whole, with its SHA256SUMS, after [Load] has
// accepted it; config.json and tokenizer are looked at before the weights are fetched.
//
// Errors: [InvalidError] for a name or a model that cannot be used, fs.ErrExist for a
// folder that holds something, [HubError] for an answer of the hub that is no success,
// [ErrCorrupt] for content that is not what the hub lists.
func (h Hub) Pull(ctx context.Context, name, revision, dir string) (Pulled, error) {
	p, err := h.pull(ctx, name, revision, filepath.Clean(dir))
	if err != nil {
		return Pulled{}, fmt.Errorf("pull %s: %w", name, err)
	}
	return p, nil
}

func (h Hub) pull(ctx context.Context, name, revision, dir string) (Pulled, error) {
	switch {
	case !modelName.MatchString(name) || strings.Contains(name, ".."):
		return Pulled{}, invalid("name", "%q is not the name of a model, such as openai-community/gpt2", name)
	case !revisions.MatchString(revision) || strings.Contains(revision, ".."):
		return Pulled{}, invalid("revision", "%q is not a branch, tag or commit", revision)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return Pulled{}, fmt.Errorf("%s holds something already: %w", dir, fs.ErrExist)
	}
	listed, err := h.list(ctx, name, revision)
	if err != nil {
		return Pulled{}, err
	}
	staging := filepath.Join(filepath.Dir(dir), ".pull-"+filepath.Base(dir))
	s, err := h.stage(staging, name, revision)
	if err != nil {
		return Pulled{}, err
	}
	defer s.root.Close()
	files, err := s.fetchModel(ctx, listed)
	if err != nil {
		return Pulled{}, err
	}
	if _, err := Load(filepath.Join(staging, stagedModel)); err != nil {
		return Pulled{}, fmt.Errorf("what was pulled is not a model that can be used (it is kept in %s): %w", staging, err)
	}
	if err := s.publish(dir, files); err != nil {
		return Pulled{}, err
	}
	if err := os.RemoveAll(staging); err != nil {
		return Pulled{}, err
	}
	out := Pulled{Digest: s.sums.digest()}
	for _, f := range files {
		out.Files = append(out.Files, f.name)
		out.Bytes += f.size
	}
	return out, nil
}

// hubFile is a file as the hub lists it.
type hubFile struct {
	name   string
	size   int64
	digest string // of its content: SHA-256, 64 hex digits, or git's SHA-1 of a blob, 40
}

// list asks for the files of a model's top folder.
func (h Hub) list(ctx context.Context, name, revision string) (map[string]hubFile, error) {
	body, err := h.get(ctx, "/api/models/"+name+"/tree/"+url.PathEscape(revision)+"?recursive=false", maxListing)
	if err != nil {
		return nil, err
	}
	var tree []struct {
		Type string `json:"type"`
		Path string `json:"path"`
		Size int64  `json:"size"`
		OID  string `json:"oid"`
		LFS  *struct {
			OID  string `json:"oid"`
			Size int64  `json:"size"`
		} `json:"lfs"`
	}
	if err := json.Unmarshal(body, &tree); err != nil {
		return nil, corrupt("the list of files: %v", err)
	}
	out := map[string]hubFile{}
	for _, e := range tree {
		f := hubFile{name: e.Path, size: e.Size, digest: e.OID}
		if e.LFS != nil {
			f.size, f.digest = e.LFS.Size, strings.TrimPrefix(e.LFS.OID, "sha256:")
		}
		wanted := slices.Contains(smallFiles, f.name) || f.name == indexName || strings.HasSuffix(f.name, ".safetensors")
		if e.Type != "file" || !wanted || !plainName(f.name) || strings.HasPrefix(f.name, ".") {
			if strings.HasSuffix(f.name, ".bin") && e.Type == "file" {
				out[".bin"] = f // remembered for the message only
			}
			continue
		}
		if _, err := hex.DecodeString(f.digest); err != nil || len(f.digest) != 64 && (len(f.digest) != 40 || e.LFS != nil) {
			return nil, corrupt("the hub lists no digest of %s", f.name)
		}
		f.digest = strings.ToLower(f.digest)
		small := !strings.HasSuffix(f.name, ".safetensors")
		if f.size < 0 || f.size > maxPullAll || small && f.size > maxPullSmall {
			return nil, corrupt("%s has %d bytes, which is over the limit", f.name, f.size)
		}
		if _, twice := out[f.name]; twice {
			return nil, corrupt("the hub lists %s twice", f.name)
		}
		out[f.name] = f
	}
	_, one := out[weightsName]
	_, many := out[indexName]
	_, pickle := out[".bin"]
	delete(out, ".bin")
	switch {
	case !one && !many && pickle:
		return nil, invalid("weights", "the model has them only as pickled Python (.bin), which can hold code; ask its makers for safetensors")
	case !one && !many:
		return nil, invalid("weights", "the model has no %s", weightsName)
	case out[configName].name == "":
		return nil, invalid(configName, "the model has none")
	}
	return out, nil
}

// fetchModel fetches the small files, looks at them, and then fetches the weights.
func (s *staging) fetchModel(ctx context.Context, listed map[string]hubFile) ([]hubFile, error) {
	var small, large []hubFile
	for _, name := range smallFiles {
		if f, ok := listed[name]; ok {
			small = append(small, f)
		}
	}
	if f, ok := listed[weightsName]; ok {
		large = []hubFile{f}
	} else {
		small = append(small, listed[indexName])
	}
	if err := s.keepOnly(listed); err != nil {
		return nil, err
	}
	s.expect(small)
	for _, f := range small {
		if err := s.fetch(ctx, f); err != nil {
			return nil, err
		}
	}
	fsys := os.DirFS(filepath.Join(s.dir, stagedModel))
	cfg, _, err := loadConfig(fsys)
	if err != nil {
		return nil, err
	}
	tok, err := token.LoadFS(fsys)
	switch {
	case err != nil && !errors.Is(err, token.ErrNotFound):
		return nil, err
	case err == nil && tok.Vocab() > cfg.Vocab:
		return nil, invalid("tokenizer", "it has %d ids, the model %d", tok.Vocab(), cfg.Vocab)
	}
	if large == nil {
		data, err := readSmall(fsys, indexName)
		if err != nil {
			return nil, err
		}
		names, _, err := parseIndex(data)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			f, ok := listed[name]
			if !ok {
				return nil, corrupt("%s names %s, which the hub does not list", indexName, name)
			}
			large = append(large, f)
		}
	}
	if err := s.room(large); err != nil {
		return nil, err
	}
	s.expect(large)
	for _, f := range large {
		if err := s.fetch(ctx, f); err != nil {
			return nil, err
		}
	}
	all := append(small, large...)
	if err := os.WriteFile(filepath.Join(s.dir, stagedModel, sumsName), s.sums.encode(), 0o600); err != nil {
		return nil, err
	}
	return all, nil
}
