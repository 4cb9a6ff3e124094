package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/lang"
)

//go:embed static
var staticFS embed.FS

// asset is a file under /static. Its address carries the first digits of its digest, so browsers may keep it for ever.
type asset struct {
	body []byte
	kind string
	hash string
}

// loadAssets reads the files and makes the catalogues of what scripts say: lang/<tag>.js.
func loadAssets(speaks lang.Languages) (map[string]asset, error) {
	out := map[string]asset{}
	add := func(name string, body []byte) {
		sum := sha256.Sum256(body)
		out[name] = asset{body, contentType(name), hex.EncodeToString(sum[:6])}
	}
	var said []string
	err := fs.WalkDir(staticFS, "static", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := staticFS.ReadFile(p)
		if err != nil {
			return err
		}
		add(strings.TrimPrefix(p, "static"), body)
		if path.Ext(p) == ".js" && !strings.HasPrefix(p, "static/vendor/") {
			said = append(said, saidBy(string(body))...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, l := range speaks[1:] {
		words, err := json.Marshal(l.Words(said))
		if err != nil {
			return nil, err
		}
		add("/lang/"+l.Tag+".js", fmt.Appendf(nil, "// What scripts say, in %s.\n\"use strict\";\nglobalThis.sentences = %s;\n", l.Name, words))
	}
	return out, nil
}

// spoken is a call of t or tn in a script; the last text in it is the key, which for tn is the plural.
var spoken = regexp.MustCompile(`\btn?\(\s*(?:"(?:[^"\\]|\\.)*"\s*,\s*)?("(?:[^"\\]|\\.)*")`)

// saidBy are the sentences of a script.
func saidBy(script string) []string {
	var out []string
	for _, m := range spoken.FindAllStringSubmatch(script, -1) {
		if s, err := strconv.Unquote(m[1]); err == nil {
			out = append(out, s)
		}
	}
	return out
}

func contentType(name string) string {
	switch path.Ext(name) { // not left to the machine's own table
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case "", ".txt":
		return "text/plain; charset=utf-8"
	}
	return mime.TypeByExtension(path.Ext(name))
}

func (s *server) static(c *gin.Context) {
	a, ok := s.assets[c.Param("path")]
	if !ok {
		s.fail(c, s.unknown(c))
		return
	}
	c.Header("ETag", `"`+a.hash+`"`)
	if c.Query("v") == a.hash {
		c.Header("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		c.Header("Cache-Control", "public, no-cache")
	}
	if c.GetHeader("If-None-Match") == `"`+a.hash+`"` {
		c.Status(http.StatusNotModified)
		return
	}
	c.Data(http.StatusOK, a.kind, a.body)
}
