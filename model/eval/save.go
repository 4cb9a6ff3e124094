package eval

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
)

// Save writes the report into a folder, made if need be: report.html, plot.svg, table.txt, report.json, and items.jsonl with
// each question, what came of it and under which column.
func (r *Report) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var table, all, items bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		return err
	}
	enc := json.NewEncoder(&all)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return err
	}
	if err := r.writeItems(&items); err != nil {
		return err
	}
	for name, b := range map[string][]byte{"report.html": []byte(r.HTML()), "plot.svg": []byte(r.SVG()), "table.txt": table.Bytes(), "report.json": all.Bytes(), "items.jsonl": items.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) writeItems(b *bytes.Buffer) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for _, row := range r.Tasks {
		for i, it := range row.Items {
			for _, c := range row.Cells {
				err := enc.Encode(struct {
					Task string `json:"task"`
					Item int    `json:"item"`
					Column
					Prompt  string   `json:"prompt"`
					Choices []string `json:"choices,omitempty"`
					Answer  string   `json:"answer"`
					Verdict
				}{row.Task, i, c.Column, it.Prompt, it.Choices, it.Answer, c.Verdicts[i]})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}
