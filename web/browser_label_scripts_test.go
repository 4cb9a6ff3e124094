package web

import (
	"encoding/json"
	"testing"

	"github.com/rankloop/rankloop/web/account"
)

// quote writes a text as a script does.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// scripts is a tab in which the functions of the page's scripts can be called.
func scripts(t *testing.T) *tab {
	w := newWorld(t)
	w.user("mina", account.RoleLabeler)
	b := w.open(1280, 900, false)
	b.signIn("mina@example.com")
	b.until(`typeof diff === "function" && !document.getElementById("empty").hidden`)
	return b
}

// TestDiff: the pieces make both texts again, whatever they are and however early the search is cut off; words and
// characters are found; 8 pairs of 20 kB take less than the time in which a person would notice a hang.
func TestDiff(t *testing.T) {
	t.Parallel()
	b := scripts(t)
	if wrong := eval[string](b, `(() => {
		let seed = 7;
		const rand = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % n; };
		const words = ["fox", "drum", " ", " ", " ", "the", "。", "狐", "狸", "鼓", "\n", "don't", ",", "\u{1F98A}"];
		for (let n = 0; n < 3000; n++) {
			const text = (k) => Array.from({ length: rand(k) }, () => words[rand(words.length)]).join("");
			const x = text(40), y = n % 3 ? text(40) : x.replace("fox", "cat").replace("狐", "");
			const cut = [1, 2, 5, 200][n % 4];
			const parts = diff(x, y, cut);
			if (parts.filter((p) => p[0] < 1).map((p) => p[1]).join("") !== x || parts.filter((p) => p[0] > -1).map((p) => p[1]).join("") !== y) return JSON.stringify([x, y, cut, parts]);
		}
		return "";
	})()`); wrong != "" {
		t.Error("pieces do not make the texts: " + wrong)
	}
	for _, c := range []struct{ a, b, want string }{
		{"the red fox", "the old fox", `[[0,"the "],[-1,"red"],[1,"old"],[0," fox"]]`},
		{"狐狸敲鼓", "狐狸打鼓", `[[0,"狐狸"],[-1,"敲"],[1,"打"],[0,"鼓"]]`},
		{"", "new", `[[1,"new"]]`}, {"same", "same", `[[0,"same"]]`}, {"a b c", "x y c", `[[-1,"a b"],[1,"x y"],[0," c"]]`},
		{"狐狸敲得太大聲", "他說話", `[[-1,"狐狸敲得太大聲"],[1,"他說話"]]`}, {"鳥兒都飛走了。天黑了", "小狗都跑來了。天黑了", `[[-1,"鳥兒都飛走"],[1,"小狗都跑來"],[0,"了。天黑了"]]`},
	} {
		if got := eval[string](b, `JSON.stringify(diff(`+quote(c.a)+`, `+quote(c.b)+`))`); got != c.want {
			t.Errorf("diff %q %q = %s, want %s", c.a, c.b, got, c.want)
		}
	}
	// The shortest script where it is not cut off: as many pieces as the longest common subsequence leaves.
	if wrong := eval[string](b, `(() => {
		let seed = 3;
		const rand = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return (seed >> 8) % n; };
		for (let n = 0; n < 400; n++) {
			const text = () => Array.from({ length: rand(14) }, () => "狐狸鼓"[rand(3)]);
			const x = text(), y = text();
			const len = Array.from({ length: x.length + 1 }, () => new Array(y.length + 1).fill(0));
			for (let i = 1; i <= x.length; i++) for (let j = 1; j <= y.length; j++) len[i][j] = x[i - 1] === y[j - 1] ? len[i - 1][j - 1] + 1 : Math.max(len[i - 1][j], len[i][j - 1]);
			const common = edits(x.join(""), y.join("")).filter((p) => p[0] === 0).map((p) => p[1]).join("").length;
			if (common !== len[x.length][y.length]) return x.join("") + " " + y.join("") + " " + common + " " + len[x.length][y.length];
		}
		return "";
	})()`); wrong != "" {
		t.Error("not the longest common subsequence: " + wrong)
	}
	took := eval[float64](b, `(() => {
		const make = (s) => { let out = ""; for (let i = 0; out.length < 20000; i++) out += "w" + (i * s % 977) + " "; return out; };
		const from = performance.now();
		for (let s = 2; s < 10; s++) diff(make(1), make(s));
		return performance.now() - from;
	})()`)
	t.Logf("8 unlike pairs of 20 kB: %.0f ms", took)
	if took > 20_000 {
		t.Errorf("8 pairs of 20 kB take %.0f ms", took)
	}
}

// TestMarkdown: what is understood becomes elements, all else stays text, and nothing is lost.
func TestMarkdown(t *testing.T) {
	t.Parallel()
	b := scripts(t)
	html := func(source string) string {
		return eval[string](b, `(() => { const d = document.createElement("div"); markdown(d, `+quote(source)+`); return d.innerHTML; })()`)
	}
	for _, c := range []struct{ source, want string }{
		{"one\ntwo\n\nthree", "<p>one\ntwo</p><p>three</p>"},
		{"# Title #\ntext", "<h3>Title</h3><p>text</p>"},
		{"- a\n- b\n  - c\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"},
		{"3. a\n4. b", `<ol start="3"><li>a</li><li>b</li></ol>`},
		{"1. a\n\n2. b", "<ol><li>a</li><li>b</li></ol>"},
		{"> quoted\n> **so**", "<blockquote><p>quoted\n<strong>so</strong></p></blockquote>"},
		{"a *b* __c__ ~~d~~ `e*f*`", "<p>a <em>b</em> <strong>c</strong> <s>d</s> <code>e*f*</code></p>"},
		{"snake_case_name and 2*3*4", "<p>snake_case_name and 2<em>3</em>4</p>"},
		{"```go\nfunc f() {} // x\n```", `<pre><span class="language">go</span><code><span class="c-word">func</span> f() {} <span class="c-note">// x</span></code></pre>`},
		{"| a | b |\n|---|---|\n| 1 | 2 |", `<div class="wide"><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></div>`},
		{"[text](https://x.example/a)", `<p>text<span class="address"> ⟨https://x.example/a⟩</span></p>`},
		{"![alt](https://x.example/a.png)", `<p>alt<span class="address"> ⟨image: https://x.example/a.png⟩</span></p>`},
		{"<b>x</b> &amp; <script>alert(1)</script>", "<p>&lt;b&gt;x&lt;/b&gt; &amp;amp; &lt;script&gt;alert(1)&lt;/script&gt;</p>"},
		{"---", "<hr>"}, {"", ""}, {"```\nopen", "<pre><code>open</code></pre>"},
		{"a\u202eb", `<p>a<span class="esc">⟨U+202E⟩</span>b</p>`},
	} {
		if got := html(c.source); got != c.want {
			t.Errorf("%q\n got %s\nwant %s", c.source, got, c.want)
		}
	}
	// Every letter and digit of hostile texts is still there.
	if lost := eval[string](b, `(() => {
		const marks = ["*", "**", "_", "`+"`"+`", "[", "](", ")", "!", "> ", "- ", "1. ", "|", "\n", "\n\n", "  ", "#", "`+"```"+`", "a", "b2", "狐", "<b>", "---", "~~", "\\"];
		let seed = 11;
		const rand = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return (seed >> 8) % n; };
		const letters = (s) => s.replace(/[^\p{L}\p{N}]/gu, "").replace(/image/g, "");
		for (let n = 0; n < 3000; n++) {
			const text = Array.from({ length: rand(40) }, () => marks[rand(marks.length)]).join("");
			const d = document.createElement("div");
			markdown(d, text);
			const shown = letters(d.textContent);
			const from = letters(text.replace(/^ *\d{1,9}[.)]( |$)/gm, " "));
			for (const ch of new Set(from)) if (shown.split(ch).length < from.split(ch).length && !/\d/.test(ch)) return JSON.stringify(text) + " lost " + ch;
			if (d.querySelector("a, img, script, iframe, [href], [src], [style]")) return JSON.stringify(text) + " made " + d.innerHTML;
		}
		return "";
	})()`); lost != "" {
		t.Error(lost)
	}
	took := eval[float64](b, `(() => {
		const from = performance.now();
		for (const s of ["[", "*", "_a", "`+"`"+`", "> ", "![", "**a", "| ", "- ", "\n> - "]) { const d = document.createElement("div"); markdown(d, s.repeat(20000)); }
		return performance.now() - from;
	})()`)
	t.Logf("ten hostile texts: %.0f ms", took)
	if took > 20_000 {
		t.Errorf("hostile texts take %.0f ms", took)
	}
}

// TestLanguageOf: the script tells.
func TestLanguageOf(t *testing.T) {
	t.Parallel()
	b := scripts(t)
	for text, want := range map[string]string{"A fox and a drum.": "", "狐狸對鼓說：我們來學習這個國家的歷史。": "zh-Hant", "狐狸对鼓说：我们来学习这个国家的历史。": "zh-Hans",
		"きつねは太鼓をたたきました。": "ja", "여우가 북을 쳤습니다": "ko", "狐": ""} {
		if got := eval[string](b, `languageOf(`+quote(text)+`)`); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestKeymap: the table has no clash, keys are read the same on any layout, a clash is refused, a choice is kept.
func TestKeymap(t *testing.T) {
	t.Parallel()
	b := scripts(t)
	kept := `{ all: {}, get(k) { return this.all[k] ?? null; }, set(k, v) { this.all[k] = v; } }`
	if got := eval[string](b, `(() => {
		const out = [];
		const key = (init) => keyOf(new KeyboardEvent("keydown", init));
		out.push(key({ key: "j" }), key({ key: "J", shiftKey: true }), key({ key: "J" }), key({ key: "?", shiftKey: true }), key({ key: "Z", ctrlKey: true, shiftKey: true }),
			key({ key: "о", code: "KeyJ" }), key({ key: "Process", code: "KeyJ" }), key({ key: "Shift", shiftKey: true }), key({ key: "ArrowUp", shiftKey: true }), key({ key: "j", altKey: true }));
		return out.join(" ");
	})()`); got != "j Shift+j j ? Ctrl+Shift+z j   Shift+ArrowUp " {
		t.Errorf("keys are read as %q", got)
	}
	if got := eval[string](b, `(() => {
		const ran = [];
		const table = () => [{ name: "one", keys: ["a"], run: (k) => ran.push("one"), does: "1" }, { name: "two", keys: ["b"], run: () => ran.push("two"), does: "2" },
			{ name: "three", mode: "m", keys: ["a"], fixed: true, run: () => ran.push("three"), does: "3" }];
		const kept = `+kept+`;
		const k = new Keymap(kept, table());
		const out = [k.clashes().length, k.assign("two", "a").name, k.assign("two", "x"), k.find("b") === undefined, k.find("x").name, k.find("a").name];
		k.mode = "m";
		out.push(k.find("a").name, k.find("x").name);
		const again = new Keymap(kept, table());
		out.push(again.find("x").name);
		out.push(new Keymap(kept, [...table(), { name: "four", keys: ["x"], run() {}, does: "4" }]).find("b").name); // a choice that clashes with a newer table goes
		const bad = table(); bad[1].keys = ["a"];
		out.push(Keymap.prototype.clashes.call({ actions: bad.map((a) => ({ mode: "", ...a })) }).length);
		return out.join(" ");
	})()`); got != "0 one  true two one three two two two 1" {
		t.Errorf("keymap: %q", got)
	}
}
