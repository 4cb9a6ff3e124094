package migrations

import (
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

// markedSource is the iofs source with each file followed by its marker: Postgres runs the whole as one implicit
// transaction, so the marker is there exactly when the file's work is.
type markedSource struct{ source.Driver }

func newSource(files fs.FS) (source.Driver, error) {
	src, err := iofs.New(files, ".")
	if err != nil {
		return nil, err
	}
	return markedSource{src}, nil
}

func (s markedSource) ReadUp(version uint) (io.ReadCloser, string, error) {
	r, id, err := s.Driver.ReadUp(version)
	return marked(r, "INSERT INTO schema_marker (version) VALUES (%d)", version), id, err
}

func (s markedSource) ReadDown(version uint) (io.ReadCloser, string, error) {
	r, id, err := s.Driver.ReadDown(version)
	return marked(r, "DELETE FROM schema_marker WHERE version = %d", version), id, err
}

func marked(r io.ReadCloser, format string, version uint) io.ReadCloser {
	if r == nil {
		return nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(r, strings.NewReader("\n;"+fmt.Sprintf(format, version)+";\n")), r}
}
