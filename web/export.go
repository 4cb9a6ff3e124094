package web

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/labeling"
)

// exportSnapshot streams a snapshot's file. The file is made anew for each request, since
// the same snapshot gives the same bytes; a request for a part of it (Range) makes it from
// its beginning and sends the part.
func (s *server) exportSnapshot(c *gin.Context) {
	ctx, id := c.Request.Context(), c.Param("id")
	format, err := exportFormat(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	asked := c.GetHeader("Range")
	known, err := s.Labeling.KnownManifest(ctx, id, format)
	if errors.Is(err, labeling.ErrNotFound) && known.Snapshot != "" {
		if err = nil; asked != "" { // how long the whole is must be known
			known, err = s.Labeling.ExportManifest(ctx, id, format)
		}
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	out := &exportWriter{c: c, status: http.StatusOK, left: 1 << 62}
	h := c.Writer.Header()
	h.Set("Content-Type", map[string]string{".jsonl": "application/jsonl", ".json": "application/json", ".csv": "text/csv; charset=utf-8"}[labeling.ExportSuffix(format)])
	if format == "parquet" {
		h.Set("Content-Type", "application/vnd.apache.parquet")
	}
	h.Set("Content-Disposition", `attachment; filename="snapshot-`+short(id)+"-"+format+labeling.ExportSuffix(format)+`"`)
	h.Set("Accept-Ranges", "bytes")
	if known.SHA256 != "" {
		tag := `"` + known.SHA256 + `"`
		h.Set("ETag", tag)
		if sum, err := hex.DecodeString(known.SHA256); err == nil {
			h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
		}
		if c.GetHeader("If-None-Match") == tag {
			c.Status(http.StatusNotModified)
			return
		}
		out.left = known.Bytes
		if first, last, ok := byteRange(asked, known.Bytes); ok && (c.GetHeader("If-Range") == "" || c.GetHeader("If-Range") == tag) {
			if first >= known.Bytes {
				h.Set("Content-Range", fmt.Sprintf("bytes */%d", known.Bytes))
				s.fail(c, status(http.StatusRequestedRangeNotSatisfiable, "the file ends before that"))
				return
			}
			out.skip, out.left, out.status = first, last-first+1, http.StatusPartialContent
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, known.Bytes))
		}
		h.Set("Content-Length", strconv.FormatInt(out.left, 10))
	}
	_, err = s.Labeling.ExportSnapshot(ctx, out, id, format)
	switch {
	case err == nil || errors.Is(err, errSent):
		out.begin()
	case out.begun:
		s.Log.ErrorContext(c.Request.Context(), "export broken off", "request", requestID(c.Request), "snapshot", id, "error", err)
		panic(http.ErrAbortHandler) // a half file must not look whole
	default:
		for _, name := range []string{"Content-Length", "Content-Range", "Content-Disposition", "ETag", "Repr-Digest", "Accept-Ranges"} {
			h.Del(name)
		}
		s.fail(c, err)
	}
}

var errSent = errors.New("all that was asked for is sent")

// exportWriter sends a part of what is written to it, and begins the answer with the
// first byte, so that an error before that can still be told.
type exportWriter struct {
	c          *gin.Context
	status     int
	skip, left int64
	begun      bool
}

func (w *exportWriter) begin() {
	if !w.begun {
		w.begun = true
		w.c.Status(w.status)
		w.c.Writer.WriteHeaderNow()
	}
}

func (w *exportWriter) Write(p []byte) (int, error) {
	n := len(p)
	if w.skip >= int64(n) {
		w.skip -= int64(n)
		return n, nil
	}
	p = p[w.skip:]
	w.skip = 0
	p = p[:min(int64(len(p)), w.left)]
	w.begin()
	controller(w.c).SetWriteDeadline(time.Now().Add(30 * time.Second)) // writers without deadlines (tests) say so; that is fine
	if _, err := w.c.Writer.Write(p); err != nil {
		return 0, err
	}
	if w.left -= int64(len(p)); w.left == 0 && w.status == http.StatusPartialContent {
		return n, errSent
	}
	return n, nil
}

var _ io.Writer = (*exportWriter)(nil)

// byteRange reads a Range header of one range; anything else counts as none, which a
// server may do (RFC 9110, section 14.2).
func byteRange(header string, size int64) (first, last int64, ok bool) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	a, b, dash := strings.Cut(spec, "-")
	if !ok || !dash || strings.Contains(spec, ",") {
		return 0, 0, false
	}
	if a == "" { // the last so many
		n, err := strconv.ParseInt(b, 10, 64)
		return max(0, size-n), size - 1, err == nil && n > 0
	}
	first, err := strconv.ParseInt(a, 10, 64)
	if err != nil || first < 0 {
		return 0, 0, false
	}
	if last = size - 1; b != "" {
		n, err := strconv.ParseInt(b, 10, 64)
		if err != nil || n < first {
			return 0, 0, false
		}
		last = min(last, n)
	}
	return first, last, true
}
