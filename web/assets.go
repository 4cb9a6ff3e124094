package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/gin-gonic/gin"
)

//go:embed static
var staticFS embed.FS

// asset is a file under /static. Its address carries the first digits of its digest, so browsers may keep it for ever.
type asset struct {
	body []byte
	kind string
	hash string
}

func loadAssets() (map[string]asset, error) {
	out := map[string]asset{}
	err := fs.WalkDir(staticFS, "static", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := staticFS.ReadFile(p)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		out[strings.TrimPrefix(p, "static")] = asset{body, contentType(p), hex.EncodeToString(sum[:6])}
		return nil
	})
	return out, err
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
