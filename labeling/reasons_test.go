package labeling

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A reason comes back from the database as it went in: its sentence, its form and what stands in it, for every kind of value.
func TestReasonsAreKept(t *testing.T) {
	b := setup(t)
	file := `{"prompt":"a","completions":["1","2"],"ranks":[1,2,3]}
{"prompt":"b","completions":["1","2"],"ranks":[1,2],"split":"te\"st"}
{"prompt":"c","completions":["1","2"],"ranks":"x"}
{"prompt":"d","completions":["1","2"],"ranks":[1,2],"what":1}
[1]
{"prompt":"e \u0000"}
{"prompt":"f","completions":["1","2"],"ranks":[1,0]}
{"prompt":"g` + "\xff" + `"}
`
	dry, err := b.store.CheckImport(b.ctx, b.project.ID, Reading{Format: "rankings"}, strings.NewReader(file))
	b.ok(err)
	real := b.importText(file, Reading{Format: "rankings"})
	if len(real.Reasons) != 8 || fmt.Sprint(dry.Reasons) != fmt.Sprint(real.Reasons) {
		t.Fatalf("%v\n%v", dry.Reasons, real.Reasons)
	}
	for i, r := range real.Reasons {
		var was, kept *InvalidError
		if !errors.As(dry.Reasons[i], &was) || !errors.As(r, &kept) {
			t.Errorf("%v: %T, kept %T", r, dry.Reasons[i].Err, r.Err)
			continue
		}
		if kept.Field != was.Field || kept.Form != was.Form || kept.Reason != was.Reason || fmt.Sprintf(kept.Form, kept.Args...) != was.Reason && len(kept.Args) > 0 {
			t.Errorf("%+v, kept as %+v", was, kept)
		}
	}
	if e := real.Reasons[0].Err.(*InvalidError); e.Error() != "ranks: 3 given for 2 completions" || e.Form != "%d given for %d completions" || fmt.Sprint(e.Args) != "[3 2]" {
		t.Errorf("%+v", e)
	}
	// A reason of before there were forms.
	b.sql(`UPDATE import_errors SET form = '', field = '', args = '[]', reason = 'of old' WHERE line = 1`)
	if list, err := b.store.ImportReasons(b.ctx, b.lastImport().ID); err != nil || list[0].Error() != "line 1: of old" {
		t.Errorf("%v %v", list, err)
	}
}
