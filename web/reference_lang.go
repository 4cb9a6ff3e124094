package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"

	"github.com/rankloop/rankloop/web/lang"
)

// described returns what writes a description of openapi.json in a language, with a full stop where it ends a sentence: as
// docs/<language>/reference.json has it, and in English, marked as such, where it does not.
func described(l *lang.Language) (func(text string, stop bool) template.HTML, error) {
	known := map[string]string{}
	raw, err := docsFS.ReadFile("docs/" + l.Tag + "/reference.json")
	if err == nil {
		err = json.Unmarshal(raw, &known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("descriptions in %s: %w", l.Tag, err)
	}
	return func(text string, stop bool) template.HTML {
		end := map[bool]string{true: "."}[stop]
		if own, ok := known[text]; ok {
			if stop {
				end = "。"
			}
			return template.HTML(template.HTMLEscapeString(own + end))
		}
		if out := template.HTMLEscapeString(text + end); l.Tag == "en" || text == "" {
			return template.HTML(out)
		} else {
			return template.HTML(`<span lang="en">` + out + `</span>`)
		}
	}, nil
}
