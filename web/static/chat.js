// The chat page: the conversation lives in this tab; answers stream in as the server sends them.
"use strict";

(() => {
  const kept = "rl:chat";
  let messages = [];
  let controller = null;

  function show() {
    $("hint").hidden = messages.length > 0;
    $("talk").replaceChildren($("hint"), ...messages.map((m) => turn(m.role, m.content)));
  }
  function keep() { try { sessionStorage.setItem(kept, JSON.stringify(messages)); } catch { /* full: the page still works */ } }

  function streaming(on) {
    $("send").hidden = on;
    $("stop").hidden = !on;
    $("talk").setAttribute("aria-busy", String(on));
  }

  async function ask(text) {
    messages.push({ role: "user", content: text });
    const answer = { role: "assistant", content: "" };
    show();
    const box = turn("assistant", "…");
    const said = box.querySelector(".said");
    $("talk").append(box);
    box.scrollIntoView({ block: "end" });
    controller = new AbortController();
    streaming(true);
    let failed = "";
    try {
      const res = await fetch("/chat/api/answer", {
        method: "POST", signal: controller.signal, credentials: "same-origin",
        headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
        body: JSON.stringify({ model: "default", messages, stream: true }),
      });
      if (!res.ok) {
        const p = await res.json().catch(() => null);
        failed = (p && (p.detail || p.title)) || t("The server answered %s.", res.status);
      } else {
        await events(res.body, (data) => {
          if (data.error) { failed = data.error.message; return; }
          for (const c of data.choices) answer.content += (c.delta && c.delta.content) || "";
          showText(said, answer.content || "…");
          box.scrollIntoView({ block: "end" });
        });
      }
    } catch (e) {
      failed = e.name === "AbortError" ? "" : t("The connection broke.");
    }
    controller = null;
    streaming(false);
    if (answer.content) messages.push(answer);
    else if (failed) messages.pop();
    keep();
    show();
    if (failed) $("talk").append(element("p", "alert", failed));
    if (failed && !answer.content) $("say").value = text;
    $("say").focus();
  }

  // events reads data-only server-sent events until [DONE].
  async function events(body, each) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const f of frames) {
        if (!f.startsWith("data: ")) continue;
        if (f === "data: [DONE]") return;
        each(JSON.parse(f.slice(6)));
      }
    }
  }

  function send() {
    const text = $("say").value.trim();
    if (!text || controller || $("send").disabled) return;
    $("say").value = "";
    ask(text);
  }

  $("ask").addEventListener("submit", (e) => { e.preventDefault(); send(); });
  $("say").addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); send(); }
  });
  $("stop").addEventListener("click", () => { if (controller) controller.abort(); });
  $("fresh").addEventListener("click", () => {
    if (controller) controller.abort();
    messages = [];
    keep();
    show();
    $("say").focus();
  });
  try { messages = JSON.parse(sessionStorage.getItem(kept)) || []; } catch { messages = []; }
  show();
  if (messages.length) $("talk").lastElementChild.scrollIntoView({ block: "end" });
})();
