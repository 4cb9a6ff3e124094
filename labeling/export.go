package labeling

import (
	"fmt"
	"io"
)

// encoder writes ranked prompts in one format. It holds no more than a few of them.
type encoder interface {
	// write returns how many records the prompt became: rankings, or pairs in the formats
	// of pairs; 0 for one that the format cannot hold.
	write(p RankedPrompt) (records int, err error)
	close() error // ends the file, not the writer
}

// ExportCounts say what became of a snapshot's prompts.
type ExportCounts struct {
	Prompts int `json:"prompts"` // written
	Records int `json:"records"` // lines, rows or annotations
	Skipped int `json:"skipped"` // prompts that the format cannot hold
}

// Export writes ranked prompts, one after the other as each gives them, in the named
// format. The same prompts give the same bytes.
func Export(w io.Writer, name string, each func(func(RankedPrompt) error) error) (ExportCounts, error) {
	var n ExportCounts
	f, err := formatNamed(name)
	if err == nil && f.encode == nil {
		err = invalid("format", "%s is only read", name)
	}
	if err != nil {
		return n, err
	}
	e := f.encode(w)
	err = each(func(p RankedPrompt) error {
		if len(p.Completions) < MinAnswers { // a rating or a demonstration compares nothing
			n.Skipped++
			return nil
		}
		records, err := e.write(p)
		if err != nil {
			return fmt.Errorf("export of task %s: %w", p.TaskID, err)
		}
		if n.Records += records; records == 0 {
			n.Skipped++
		} else {
			n.Prompts++
		}
		return nil
	})
	if err != nil {
		return n, err
	}
	return n, e.close()
}

// ExportSuffix is how the name of a file of the format ends, such as ".jsonl".
func ExportSuffix(name string) string {
	f, _ := formatNamed(name)
	return f.suffix
}
