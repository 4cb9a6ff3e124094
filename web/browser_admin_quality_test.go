package web

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// TestAdmin8Quality is journey 8 of admins: who agrees least stands first, alpha by slice, biases and those too fast are there to see; one
// of them is paused, and in that step the tasks are queued again, as the page and the audit log say.
func TestAdmin8Quality(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	people, _ := w.labeled(6)
	w.addTask(says("Tell a story about a hasty fox."), demoAnswers...) // which yuki does not read
	a, err := w.labeling.Claim(t.Context(), w.project.ID, people[2].ID)
	w.must(err)
	_, err = w.labeling.Submit(t.Context(), labeling.SubmitInput{AssignmentID: a.ID, LabelerID: people[2].ID, IdempotencyKey: a.ID, Ranks: []int{1, 2, 3, 4}, ActiveMS: 300, WallMS: 400}, nil)
	w.must(err)
	w.must(w.labeling.RefreshDashboard(t.Context(), w.project.ID))
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/labeling")
	b.follow(`.tabs a[href="/admin/labeling/quality"]`)
	b.says("Place and rank, 4 answers") // position bias
	b.says("Longer answers")
	b.until(`document.querySelector("section:last-of-type tbody tr td").textContent === "yuki"`)                    // the worst one first
	b.until(`document.querySelector("section:last-of-type tbody tr td:last-child").textContent.startsWith("14.3")`) // one of seven too fast
	b.axe()
	b.wholeShot("figures")
	b.follow(`.tabs a[href="/admin/labeling/agreement"]`)
	b.says("By number of answers")
	b.until(`/^-?[0-9]\.[0-9]{3}$/.test([...document.querySelectorAll("section")].at(-1).querySelector("tbody td:nth-child(5)").textContent)`) // alpha of the slice
	b.size(360, 740)
	b.fitsWidth()
	b.size(1280, 900)

	open := func() int { return w.count(`SELECT coalesce(sum(open_slots), 0) FROM tasks`) }
	before := open()
	b.visit("/admin/quality")
	const row = `[...document.querySelectorAll("tbody tr")].find((r) => r.textContent.includes("yuki@example.com"))`
	eval[bool](b, row+`.querySelector("summary").click(); true`)
	eval[bool](b, `(() => { const f = `+row+`.querySelector('form[action^="/admin/quality/quarantine"]'); f.elements.reason.value = "ranks by chance"; window.former = true; f.querySelector("button").click(); return true; })()`)
	b.until(`!window.former && ` + row + `.textContent.includes("in quarantine")`)
	b.says("the tasks are in the queue again")
	aside := w.count(`SELECT count(*) FROM assignments WHERE aside`)
	b.says(fmt.Sprintf("%d rankings put aside, their tasks queued again", aside))
	if aside < 6 || open() != before+aside {
		t.Errorf("%d rankings are put aside, %d slots were open and %d are", aside, before, open())
	}
	b.axe()
	b.wholeShot("quarantine")
	b.size(360, 740)
	b.fitsWidth()
	b.size(1280, 900)
	b.visit("/admin/audit?act=labeling.quarantine")
	b.says("labeling.quarantine")
	if got := w.text(`SELECT detail ->> 'aside' || ' ' || (detail ->> 'reason') FROM audit WHERE act = 'labeling.quarantine'`); got != fmt.Sprintf("%d ranks by chance", aside) || w.count(`SELECT count(*) FROM audit WHERE act LIKE 'labeling.%quarantine%'`) != 1 {
		t.Errorf("the audit log says %q", got)
	}
	// Another one is served what was queued again.
	w.user("nils", account.RoleLabeler)
	n := w.open(1280, 900, false)
	n.signIn("nils@example.com")
	n.until(workOpen)

	b.visit("/admin/quality")
	eval[bool](b, `window.former = true; `+row+`.querySelector('form[action^="/admin/quality/restore"] button').click(); true`)
	b.until(`!window.former && !` + row + `.textContent.includes("in quarantine")`)
}

// TestAdmin10Export is journey 10 of admins: any snapshot in any format by the browser's own download, the same bytes again, a download
// that is broken off and goes on where it was, the checksum of the manifest; and what is exported, imported elsewhere, is the same.
func TestAdmin10Export(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	var file strings.Builder
	for i := range 400 {
		fmt.Fprintf(&file, `{"prompt":"Question %d","completions":["a","é 貓","c"],"ranks":[1,1,3],"labeler":"ann"}`+"\n", i)
	}
	start := func(w *world, name, text string) *tab {
		w.user("ada", account.RoleOwner)
		b := w.open(1280, 900, false)
		b.signIn("ada@example.com")
		b.visit("/admin/import")
		b.choose("#file", name, text)
		b.follow(`form[action^="/admin/import"] .btn.primary`)
		w.work()
		b.visit("/admin/snapshots")
		b.fill("#name", "first")
		b.follow(`form[action="/admin/snapshots"] .btn.primary`)
		b.says("400")
		return b
	}
	b := start(w, "first.jsonl", file.String())
	dir := b.downloads()
	files := map[string][]byte{}
	for _, format := range labeling.ExportNames() {
		link := `a[href$="/export?format=` + format + `"]`
		whole := b.download(dir, link)
		files[format] = whole
		if again := b.download(dir, link); !slices.Equal(again, whole) {
			t.Errorf("%s is another file the second time", format)
		}
		manifest := eval[string](b, `document.querySelector('a[href$="/manifest?format=`+format+`"]').href`)
		eval[bool](b, fmt.Sprintf(`window.manifest = ""; fetch(%q).then((r) => r.text()).then((x) => { window.manifest = x; }); true`, manifest))
		b.until(`window.manifest`)
		var m labeling.Manifest
		w.must(json.Unmarshal([]byte(eval[string](b, `window.manifest`)), &m))
		if sum := fmt.Sprintf("%x", sha256.Sum256(whole)); m.SHA256 != sum || m.Bytes != int64(len(whole)) {
			t.Errorf("%s: the file has %d bytes and %s, the manifest says %+v", format, len(whole), sum, m)
		}
	}
	b.shot("snapshots")
	b.size(360, 740)
	b.fitsWidth()
	b.size(1280, 900)

	// Broken off, and on from there.
	eval[bool](b, `window.sum = ""; (async () => {
		const address = document.querySelector('a[href$="/export?format=rankings"]').href;
		const stop = new AbortController();
		const first = await fetch(address, { signal: stop.signal });
		const tag = first.headers.get("ETag");
		const part = (await first.body.getReader().read()).value.slice(0, 1000);
		stop.abort();
		const rest = await fetch(address, { headers: { "Range": "bytes=" + part.length + "-", "If-Range": tag } });
		const all = new Uint8Array([...part, ...new Uint8Array(await rest.arrayBuffer())]);
		const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
		window.sum = rest.status + " " + [...hash].map((x) => x.toString(16).padStart(2, "0")).join("");
	})(); true`)
	b.until(`window.sum`)
	if got, want := eval[string](b, `window.sum`), fmt.Sprintf("206 %x", sha256.Sum256(files["rankings"])); got != want {
		t.Errorf("gone on with: %s, want %s", got, want)
	}

	// Imported elsewhere, and exported again.
	o := start(other, "rankings.jsonl", string(files["rankings"]))
	lines := func(text []byte) []string { return slices.Sorted(slices.Values(strings.Split(string(text), "\n"))) }
	if back := o.download(o.downloads(), `a[href$="/export?format=rankings"]`); !slices.Equal(lines(back), lines(files["rankings"])) {
		t.Errorf("out, in and out again is something else: %.300s, was %.300s", back, files["rankings"])
	}
}
