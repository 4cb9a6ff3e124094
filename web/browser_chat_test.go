package web

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/conversation"
)

// sharedChat is the address of a shared conversation.
func (w *world) sharedChat() string {
	w.Helper()
	ctx, s := w.Context(), w.server.Conversations
	u := w.user("sharer", account.RoleCustomer)
	c, err := s.Create(ctx, u.ID, false, conversation.Settings{})
	w.must(err)
	q, err := s.Ask(ctx, u.ID, c.ID, "", "Tell a story about a fox and a drum.", conversation.Settings{})
	w.must(err)
	a, err := s.Answer(ctx, u.ID, c.ID, []conversation.NewAnswer{{Turn: conversation.Turn{Parent: q.ID, Role: conversation.Assistant, Content: "A fox found a drum.", ModelName: "tiny-sft", Finish: "stop"}}})
	w.must(err)
	token, err := s.Share(ctx, u.ID, c.ID, a[0].ID)
	w.must(err)
	return "/chat/shared/" + token
}

// chatTab is a person at the chat page.
func (w *world) chatTab(name string, width, height int64, dark bool) *tab {
	w.Helper()
	w.user(name, account.RoleCustomer)
	b := w.open(width, height, dark)
	b.signIn(name + "@example.com")
	b.until(chatReady)
	return b
}

// chatReady: the page's scripts have run, and past conversations are listed.
const chatReady = `location.pathname === "/chat" && document.querySelector("#list li, #none:not([hidden])")`

const answeredOnce = `document.getElementById("stop").hidden && document.querySelectorAll("#talk .turn.assistant .tools").length`

func (b *tab) say(text string) { b.Helper(); b.do(chromedp.SendKeys(chromedp.CSS("#say"), text)) }

func (b *tab) click(selector string) { b.Helper(); b.do(chromedp.Click(chromedp.CSS(selector))) }

// button presses a button of the n-th turn (from 0) by its text.
func (b *tab) button(turn int, text string) {
	b.Helper()
	eval[bool](b, fmt.Sprintf(`[...document.querySelectorAll("#talk .turn")[%d].querySelectorAll("button")].find((x) => x.textContent === %q).click(), true`, turn, text))
}

// TestChatPage asks twice by the keyboard, reloads, edits the first question, and finds both versions.
func TestChatPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.chatTab("acme", 1280, 900, false)
	b.say("Tell a story\n")
	b.until(answeredOnce + ` === 1 && document.querySelector(".turn.assistant .said").textContent.length > 10`)
	if got := eval[string](b, `document.getElementById("announce").textContent`); !strings.HasPrefix(got, "Answer: ") || len(got) < 20 {
		t.Errorf("a screen reader hears %q", got)
	}
	if live := eval[int](b, `[...document.querySelectorAll('[aria-live], [role="log"], [role="status"]')].filter((e) => e.contains(document.querySelector("#talk")) || document.querySelector("#talk").contains(e)).length`); live != 0 {
		t.Error("a screen reader hears every token")
	}
	b.say("And then?\n")
	b.until(answeredOnce + ` === 2`)
	b.do(chromedp.Reload())
	b.until(`document.querySelectorAll("#talk .turn").length === 4 && document.querySelector('#list a[aria-current="page"]').textContent === "Tell a story"`)
	b.button(0, "Edit")
	b.until(`document.getElementById("say").value === "Tell a story" && !document.getElementById("editing").hidden`)
	b.say(" of a drum\n")
	b.until(`document.querySelectorAll("#talk .turn").length === 2 && ` + answeredOnce + ` === 1 && document.querySelector(".turn.user .branches").textContent.includes("2 of 2")`)
	b.do(chromedp.Focus(chromedp.CSS(".turn.user .branches button")), chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelectorAll("#talk .turn").length === 4 && document.querySelector(".turn.user .said").textContent === "Tell a story"`)
	b.button(3, "Answer again")
	b.until(`document.querySelector("#talk .turn:last-child .branches").textContent.includes("2 of 2") && document.getElementById("stop").hidden`)
	b.do(chromedp.Reload())
	b.until(`document.querySelectorAll("#talk .turn").length === 4 && document.querySelector("#talk .turn:last-child .branches").textContent.includes("2 of 2")`)
	b.axe()
	b.shot("answered")
	b.byTab()
	if n := w.count(`SELECT count(*) FROM usage WHERE key_id IS NULL AND endpoint = '/chat'`); n != 4 {
		t.Errorf("%d usage rows", n)
	}
	if n := w.count(`SELECT count(*) FROM prompts`); n != 0 {
		t.Error("what was said in the chat joined the pool")
	}
	b.click("#fresh")
	b.until(`document.querySelectorAll("#talk .turn").length === 0 && location.search === ""`)
	eval[bool](b, `history.back(), true`)
	b.until(`document.querySelectorAll("#talk .turn").length === 4`)
}

// TestChatLosesNothing: typed text outlives a reload, a refusal and the end of the session.
func TestChatLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.chatTab("acme", 1280, 900, false)
	b.say("half a question")
	b.do(chromedp.Reload())
	b.until(`document.getElementById("say") && document.getElementById("say").value === "half a question"`)
	b.allow("400")
	b.do(chromedp.SetValue(chromedp.CSS("#say"), strings.Repeat("word ", 400)))
	b.click("#send")
	b.until(`!document.getElementById("problem").hidden && document.getElementById("problem").textContent.includes("maximum context length")`)
	if got := eval[string](b, `document.getElementById("say").value`); !strings.HasPrefix(got, "word word") {
		t.Errorf("the question is lost: %q", got)
	}
	b.do(chromedp.SetValue(chromedp.CSS("#say"), "precious"))
	_, err := w.pool.Exec(t.Context(), `DELETE FROM sessions`)
	w.must(err)
	b.allow("401")
	b.click("#send")
	b.until(`document.querySelector('#problem a[href^="/login?next="]')`)
	b.click("#problem a")
	b.until(`location.pathname === "/login"`)
	b.do(chromedp.SendKeys(chromedp.CSS("#email"), "acme@example.com"), chromedp.SendKeys(chromedp.CSS("#password"), testPassword+"\n"))
	b.until(`location.pathname === "/chat" && document.getElementById("say").value === "precious"`)
	b.click("#send")
	b.until(answeredOnce + ` === 1 && document.getElementById("say").value === ""`)
}

// TestChatStop: what came before Stop stays.
func TestChatStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.chatTab("acme", 1280, 900, false)
	// The stream is held back in the page behind its first event, so that there is something to stop however fast the model is.
	b.before(`const real = window.fetch; window.fetch = async (...a) => {
		const res = await real(...a);
		if (!String(a[0]).endsWith("/answers")) return res;
		const reader = res.body.getReader(); let n = 0;
		return new Response(new ReadableStream({ async pull(c) {
			if (n++) return new Promise((_, no) => a[1].signal.addEventListener("abort", () => no(new DOMException("", "AbortError"))));
			const { value } = await reader.read();
			c.enqueue(value.slice(0, new TextDecoder().decode(value).indexOf("\n\n") + 2));
		} }), res);
	};`)
	b.do(chromedp.Reload())
	b.until(chatReady)
	b.say("Go on\n")
	b.until(`!document.getElementById("stop").hidden && document.querySelector(".turn.assistant")`)
	b.click("#stop")
	b.until(`document.getElementById("stop").hidden && document.querySelectorAll("#talk .turn.user").length === 1`)
	b.do(chromedp.Reload())
	b.until(`document.querySelector("#talk .turn.user .said").textContent === "Go on"`)
}

// TestChatCompares: two answers stand beside each other; a vote, by the keyboard, becomes a comparison where training is allowed.
func TestChatCompares(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.chatTab("acme", 1280, 900, true)
	if eval[bool](b, `document.getElementById("training").checked`) {
		t.Fatal("training is allowed by itself")
	}
	b.do(chromedp.Focus(chromedp.CSS("#training")), chromedp.KeyEvent(" "), chromedp.Focus(chromedp.CSS("#compare")), chromedp.KeyEvent(" "))
	b.until(`document.getElementById("training-says").textContent.includes("may be shown to labelers")`)
	b.say("Tell a story\n")
	b.until(`document.querySelectorAll(".versus .vote button").length === 4 && document.getElementById("stop").hidden`)
	b.axe()
	b.wholeShot("versus")
	b.do(chromedp.Focus(chromedp.CSS(".versus .vote button:nth-of-type(2)")), chromedp.KeyEvent(kb.Enter))
	b.until(`!document.querySelector(".versus") && document.querySelectorAll("#talk .turn").length === 2 && document.getElementById("announce").textContent.includes("learns from it")`)
	if n := w.count(`SELECT count(*) FROM rankings WHERE labeler_id LIKE 'customer:%' AND ranks = '{2,1}'`); n != 1 {
		t.Errorf("%d rankings", n)
	}
	b.button(1, "Bad")
	b.until(`document.querySelector(".why textarea")`)
	eval[bool](b, `document.querySelector('.why input[value="wrong"]').click(), true`)
	b.do(chromedp.SendKeys(chromedp.CSS(".why .field:nth-of-type(1) textarea"), "because"), chromedp.SendKeys(chromedp.CSS(".why .field:nth-of-type(2) textarea"), "A better story."))
	b.axe()
	b.wholeShot("why")
	b.click(".why .btn.primary")
	b.until(`!document.querySelector(".why textarea") && document.querySelector(".why").textContent.includes("learns from it")`)
	if n := w.count(`SELECT count(*) FROM feedback WHERE rating = -1 AND comment = 'because' AND tags = '{wrong}' AND demonstration_id IS NOT NULL`); n != 1 {
		t.Errorf("%d feedbacks", n)
	}
	b.click("#training")
	b.until(`document.getElementById("announce").textContent.includes("Nothing said here")`)
	if n := w.count(`SELECT count(*) FROM prompts WHERE usable`); n != 0 {
		t.Error("withdrawn, and still there")
	}
}

// TestChatTokens: the tokens of an answer are seen and walked by the arrow keys.
func TestChatTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.chatTab("acme", 1280, 900, false)
	b.say("Tell a story\n")
	b.until(answeredOnce + ` === 1`)
	b.button(1, "Tokens")
	b.until(`document.querySelectorAll(".token").length > 3`)
	b.do(chromedp.Focus(chromedp.CSS(`.token[tabindex="0"]`)), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight))
	b.until(`[...document.querySelectorAll(".token")].indexOf(document.activeElement) === 2 && document.querySelectorAll(".token-detail tr").length >= 6`)
	b.axe()
	b.wholeShot("tokens")
	b.button(1, "Tokens")
	b.until(`!document.querySelector(".token") && !document.querySelector(".turn.assistant .said").hidden`)
}

// TestChatDialogs: settings and presets, title, link, code, search and deleting.
func TestChatDialogs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.chatTab("acme", 1280, 900, false)
	b.click("#settings")
	b.until(`document.getElementById("settings-dialog").open && document.getElementById("preset").options.length === 3`)
	b.do(chromedp.SetValue(chromedp.CSS("#max-tokens"), "5"), chromedp.SetValue(chromedp.CSS("#seed"), "7"), chromedp.SendKeys(chromedp.CSS("#preset-name"), "Short\n"))
	b.until(`document.getElementById("preset").options.length === 4 && document.getElementById("preset").value === "Short" && !document.getElementById("preset-delete").hidden`)
	b.axe()
	b.shot("settings")
	b.click("#settings-form .primary")
	b.until(`!document.getElementById("settings-dialog").open`)
	b.say("A fox\n")
	b.until(answeredOnce + ` === 1 && document.querySelector(".turn.assistant .stat").textContent.includes("5 written")`)
	b.click("#rename")
	b.do(chromedp.SetValue(chromedp.CSS("#title-text"), "Foxes"), chromedp.Focus(chromedp.CSS("#title-text")), chromedp.KeyEvent(kb.Enter))
	b.until(`document.getElementById("title").textContent === "Foxes" && document.querySelector("#list a").textContent === "Foxes"`)
	b.click("#share")
	b.click("#share-make")
	b.until(`!document.getElementById("share-link-box").hidden`)
	b.axe()
	b.shot("share")
	link := strings.TrimPrefix(eval[string](b, `document.getElementById("share-link").value`), w.http.URL)
	mina := w.as("mina", account.RoleLabeler)
	mina.get(link).want(t, 200)
	b.click("#share-stop")
	b.until(`document.getElementById("share-says").textContent.includes("revoked")`)
	mina.get(link).want(t, 404)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.click("#code")
	b.until(`document.getElementById("code-text").textContent.includes("curl " + location.origin + "/v1/chat/completions")`)
	b.click(`#code-dialog input[value="go"]`)
	b.until(`document.getElementById("code-text").textContent.includes("MaxTokens: openai.Int(5)")`)
	b.axe()
	b.shot("code")
	b.do(chromedp.KeyEvent(kb.Escape))
	b.click("#fresh")
	b.say("A bear\n")
	b.until(`document.querySelectorAll("#list li").length === 2`)
	b.do(chromedp.SendKeys(chromedp.CSS("#find"), "fox"))
	b.until(`document.querySelectorAll("#list li").length === 1`)
	b.click("#list a")
	b.until(`document.getElementById("title").textContent === "Foxes"`)
	b.click("#delete")
	b.until(`document.getElementById("delete-dialog").open`)
	b.axe()
	b.click("#delete-form .danger")
	b.until(`document.getElementById("title").textContent === "New conversation" && document.querySelectorAll("#list li").length === 0`)
	if n := w.count(`SELECT count(*) FROM conversations`); n != 1 {
		t.Errorf("%d conversations", n)
	}
}

// TestChatPhone: 360 px wide, in Traditional Chinese: nothing is cut, everything is reached.
func TestChatPhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, theme := range []string{"light", "dark"} {
		b := w.chatTab("acme-"+theme, 360, 740, false)
		b.show("zh-Hant", theme)
		b.until(chatReady)
		b.click("#compare")
		b.say("Tell a story\n")
		b.until(`document.querySelectorAll(".versus .vote button").length === 4 && document.getElementById("stop").hidden`)
		check := func(name string) {
			t.Helper()
			b.fitsWidth()
			b.whole()
			b.axe()
			b.named()
			b.wholeShot(theme + "-" + name)
		}
		check("versus")
		b.click(".versus .vote button:nth-of-type(3)")
		b.until(`document.querySelectorAll("#talk .turn").length === 2`)
		eval[bool](b, `[...document.querySelectorAll(".turn.assistant button")].find((x) => x.textContent === t("Tokens")).click(), true`)
		b.until(`document.querySelectorAll(".token").length > 3`)
		check("tokens")
		b.click("#past-open")
		b.until(`document.querySelectorAll("#list li").length === 1 && document.getElementById("past-open").getAttribute("aria-expanded") === "true"`)
		check("past")
		b.click("#settings")
		b.until(`document.getElementById("settings-dialog").open`)
		check("settings")
	}
}
