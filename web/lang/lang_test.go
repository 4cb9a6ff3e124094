package lang

import (
	"testing"
	"time"
)

func load(t *testing.T) Languages {
	t.Helper()
	all, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestChoose(t *testing.T) {
	all := load(t)
	for header, want := range map[string]string{
		"": "en", "en-GB,en;q=0.9": "en", "de,fr;q=0.5": "en", "*": "en", "not a header;;;q=": "en",
		"zh-Hant": "zh-Hant", "zh-TW,zh;q=0.9,en;q=0.8": "zh-Hant", "zh-HK": "zh-Hant", "zh-MO": "zh-Hant", "zh-Hant-HK": "zh-Hant", "ZH-tw": "zh-Hant",
		"zh": "en", "zh-CN": "en", "zh-Hans": "en", "zh-SG,zh;q=0.9": "en", "zh-Hans-TW": "en", "zh-CN,en;q=0.7": "en",
		"en,zh-TW;q=0.9": "en", "zh-TW;q=0.3,en;q=0.8": "en", "fr,zh-TW;q=0.5,en;q=0.2": "zh-Hant", "zh-TW;q=0,en": "en",
	} {
		if got := all.Choose(header); got.Tag != want {
			t.Errorf("%q gets %s, want %s", header, got.Tag, want)
		}
	}
	if all.ByTag("zh-Hans") != nil || all.ByTag("") != nil || all.ByTag("zh-Hant") == nil {
		t.Error("a language too many, or too few")
	}
}

func TestSentences(t *testing.T) {
	en, zh := load(t)[0], load(t)[1]
	zh.sentences = map[string]string{"%d tasks": "%d 項任務", "Round %d of %s": "%[2]s 的第 %[1]d 回合", "<b>%s</b> %d": "<b>%s</b>（%d）", "rank %d of %q is not right: %v": "%[2]s 的名次 %[1]d 有誤：%[3]s",
		"negative": "不可為負數", "%.1f%% of %s": "%[2]s 的 %.1[1]f%%"}
	zh.patterns = nil
	for key := range zh.sentences {
		if len(Verbs(key)) > 0 {
			zh.patterns = append(zh.patterns, newPattern(key))
		}
	}
	for _, c := range [][2]string{
		{en.TN("%d task", "%d tasks", 1), "1 task"}, {en.TN("%d task", "%d tasks", 0), "0 tasks"}, {zh.TN("%d task", "%d tasks", 1), "1 項任務"},
		{zh.T("Round %d of %s", 3, "x"), "x 的第 3 回合"}, {en.T("100%"), "100%"}, {zh.T("not there"), "not there"},
		{string(zh.HTML("<b>%s</b> %d", "<i>", 2)), "<b>&lt;i&gt;</b>（2）"}, {string(en.HTML("<b>%s</b> %d", `"&`, 2)), "<b>&#34;&amp;</b> 2"},
		{zh.Found(`rank 12 of "a \"b\"" is not right: negative`), `"a \"b\"" 的名次 12 有誤：不可為負數`},
		{zh.Found("nobody wrote this"), "nobody wrote this"}, {en.Found("negative"), "negative"},
		{zh.Field("k", "negative"), "k：不可為負數"}, {en.Field("k", "negative"), "k: negative"},
	} {
		if c[0] != c[1] {
			t.Errorf("got %q, want %q", c[0], c[1])
		}
	}
}

func TestNumbersAndDates(t *testing.T) {
	en, zh := load(t)[0], load(t)[1]
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 8*3600))
	for _, c := range [][2]string{
		{en.Time(at), "2026-03-03 21:06:07"}, {zh.Time(at), "2026/03/03 21:06:07"}, {zh.Date(at), "2026/03/03"},
		{en.Percent(.7314), "73.1%"}, {zh.Percent(.7314), "73.1%"},
		{en.Duration(297.4), "4m57s"}, {zh.Duration(297.4), "4 分 57 秒"}, {zh.Duration(7200), "2 小時"}, {en.Duration(0), "0s"}, {zh.Duration(.2), "0 秒"},
	} {
		if c[0] != c[1] {
			t.Errorf("got %q, want %q", c[0], c[1])
		}
	}
}

func TestVerbs(t *testing.T) {
	for sentence, want := range map[string]int{"none": 0, "%d of %d": 2, "%[2]s and %[1]s": 2, "95%% sure": 0, "%.1f%% [%q]": 2} {
		if got := Verbs(sentence); len(got) != want {
			t.Errorf("%q: %q", sentence, got)
		}
	}
	if a, b := Verbs("%d of %s"), Verbs("%[2]s: %[1]d"); a[0] != b[0] || a[1] != b[1] {
		t.Errorf("%q, %q", a, b)
	}
}
