// The chat page. Conversations are kept by the server; this browser keeps what was typed and not yet sent, so that neither a
// reload nor an error nor a session that ended loses it.
"use strict";

(() => {
  const page = $("chat");
  const kept = new Kept("rl:chat:" + page.dataset.user + ":");
  const context = page.dataset.context;
  const api = "/chat/api/";
  let open = null; // the conversation; null: none was begun
  let tree = new Tree([], "");
  let running = null; // AbortController of an answer under way
  let editing = null; // question that is being edited
  let settings = {};
  let writing = Promise.resolve(); // which branch is open, on its way to the server: an answer must not come before it
  let visit = 0; // counts what was opened: what comes late for another conversation is dropped

  const key = () => (open ? open.id : "new");
  const say = $("say");

  // --- telling

  function tell(text, bad) { // for eyes and for a screen reader
    $("problem").hidden = !text;
    $("problem").replaceChildren();
    if (text) $("problem").append(text);
    $("problem").classList.toggle("warn", !bad);
  }

  function announce(text) { $("announce").textContent = text; }

  // problem says what went wrong, with a way on where the session ended.
  function problem(res) {
    if (res.status === 401) {
      tell(t("You are signed out. What you wrote is kept here."), true);
      const a = element("a", "", t("Sign in again"));
      a.href = "/login?next=" + encodeURIComponent("/chat" + location.search);
      $("problem").append(" ", a);
      return;
    }
    tell(res.status ? (res.body && (res.body.detail || res.body.title)) || t("The server answered %s.", res.status) : t("The server was not reached. What you wrote is kept here."), true);
  }

  // ask is call; it says what went wrong and resolves to null then.
  async function ask(method, path, body) {
    const res = await call(method, api + path, body);
    if (res.status >= 200 && res.status < 300) return res.body || {};
    problem(res);
    return null;
  }

  // --- typed text

  function keep() { kept.set("text:" + key(), say.value || null); }
  function restore() { say.value = kept.get("text:" + key()) || ""; }

  // --- drawing

  const acts = {
    edit(turn) {
      editing = turn;
      say.value = turn.content;
      $("editing").hidden = false;
      say.focus();
    },
    again(question) { answer({ parent: question.id }); },
    async rate(turn, rating) {
      const res = await ask("PUT", "turns/" + turn.id + "/feedback", { rating });
      if (!res) return;
      turn.rating = rating;
      draw();
      if (rating) why(turn, res.taught);
      else announce(t("Taken back."));
    },
    async copy(turn, button) {
      try {
        await navigator.clipboard.writeText(turn.content);
        button.textContent = t("Copied");
      } catch {
        getSelection().selectAllChildren(boxOf(turn).querySelector(".said"));
      }
    },
    async tokens(turn) {
      const box = boxOf(turn);
      const there = box.querySelector(".token-view");
      const button = [...box.querySelectorAll(".tools .btn")].find((b) => b.textContent === t("Tokens"));
      if (there) {
        there.remove();
        box.querySelector(".said").hidden = false;
        button.setAttribute("aria-pressed", "false");
        return;
      }
      const list = await ask("GET", "turns/" + turn.id + "/tokens");
      if (!list || box.querySelector(".token-view")) return;
      box.querySelector(".said").hidden = true;
      box.querySelector(".said").after(tokenView(list));
      button.setAttribute("aria-pressed", "true");
    },
    async vote(turn, vote) {
      const res = await ask("PUT", "turns/" + turn.id + "/vote", { vote });
      if (!res) return;
      const other = tree.rival(turn);
      turn.vote = vote;
      if (other) other.vote = { better: "worse", tie: "tie", bad: "bad" }[vote];
      tree.leaf = res.leaf;
      draw();
      announce(learned(res.taught));
      say.focus();
    },
    go(leaf) {
      tree.leaf = leaf;
      draw();
      if (open) writing = call("PUT", api + "conversations/" + open.id, { leaf });
    },
  };

  const boxOf = (turn) => $("talk").querySelector('[data-turn="' + turn.id + '"]');

  function learned(taught) {
    if (taught) return t("Thank you. Labelers will look at it, and the model learns from it.");
    return open && open.training ? t("Kept with this conversation only: the answer was given before training was allowed.") : t("Kept with this conversation only: it is not used for training.");
  }

  function draw() {
    showBranch($("talk"), tree, acts, context);
    $("hint").hidden = tree.by.size > 0;
    $("title").textContent = open && open.title ? open.title : t("New conversation");
    for (const id of ["rename", "share", "code", "delete"]) $(id).disabled = !open || !tree.leaf;
    $("training").checked = Boolean(open ? open.training : kept.get("training"));
    $("training-says").textContent = $("training").checked
      ? t("What is said here, and what you think of the answers, may be shown to labelers and used for training. Switching it off hides it at once.")
      : t("Nothing said here is used for training or shown to labelers.");
  }

  // why asks for the reason of a thumb.
  function why(turn, taught) {
    const box = boxOf(turn);
    if (!box) return;
    const form = element("form", "why");
    const status = element("p", "small", learned(taught));
    status.setAttribute("role", "status");
    const tags = element("fieldset", "tags");
    tags.append(element("legend", "sr", t("What was it?")));
    const known = turn.rating > 0
      ? [["helpful", t("Helpful")], ["correct", t("Correct")], ["well-written", t("Well written")]]
      : [["not-followed", t("Did not follow the question")], ["wrong", t("Not correct")], ["unkind", t("Unkind or unsafe")], ["repeats", t("Repeats itself")], ["cut", t("Does not end well")]];
    for (const [value, name] of known) {
      const label = element("label", "check");
      const input = element("input");
      input.type = "checkbox";
      input.value = value;
      label.append(input, name);
      tags.append(label);
    }
    const field = (name, max) => {
      const wrap = element("div", "field");
      const label = element("label", "", name);
      const input = element("textarea");
      input.maxLength = max;
      input.id = "why-" + name.length + "-" + turn.id;
      label.htmlFor = input.id;
      input.value = kept.get("why:" + input.id) || "";
      input.addEventListener("input", () => kept.set("why:" + input.id, input.value || null));
      wrap.append(label, input);
      return [wrap, input];
    };
    const [commentBox, comment] = field(t("Why? (optional)"), 2000);
    const [betterBox, better] = field(t("What should the answer have been? (optional)"), 8000);
    const send = element("button", "btn primary", t("Send reason"));
    const close = tool(t("Close"), () => form.remove());
    const row = element("div", "actions");
    row.append(send, close);
    form.append(status, tags, commentBox, betterBox, row);
    form.addEventListener("submit", async (e) => {
      e.preventDefault();
      const chosen = [...tags.querySelectorAll("input:checked")].map((x) => x.value);
      const res = await ask("PUT", "turns/" + turn.id + "/feedback", { rating: turn.rating, tags: chosen, comment: comment.value, correction: better.value });
      if (!res) return;
      for (const x of [comment, better]) kept.set("why:" + x.id, null);
      status.textContent = learned(res.taught);
      tags.remove();
      commentBox.remove();
      betterBox.remove();
      send.remove();
      close.focus();
    });
    box.append(form);
    tags.querySelector("input").focus();
  }

  // --- asking

  function streaming(on) {
    $("send").hidden = on;
    $("stop").hidden = !on;
    $("talk").setAttribute("aria-busy", String(on));
  }

  async function begin() {
    if (open) return true;
    const made = await ask("POST", "conversations", { training: $("training").checked, settings });
    if (!made) return false;
    const text = say.value;
    open = made;
    kept.set("text:new", null);
    kept.set("training", null);
    kept.set("text:" + key(), text || null);
    history.pushState({}, "", "/chat?c=" + open.id);
    return true;
  }

  // answer asks the server for an answer to a new question ({parent, content}) or to one that is there ({parent}).
  async function answer(body) {
    if (running) return;
    tell("");
    running = new AbortController();
    const mine = running, at = visit;
    streaming(true);
    let under = null, done = false, failed = null, question = null;
    try {
      await writing;
      if (await begin()) {
        const res = await fetch(api + "conversations/" + open.id + "/answers", {
          method: "POST", signal: mine.signal, credentials: "same-origin",
          headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
          body: JSON.stringify({ parent: body.parent || "", content: body.content || "", compare: $("compare").checked, settings }),
        });
        if (!res.ok) failed = { status: res.status, body: await res.json().catch(() => null) };
        else await events(res.body, (e) => {
          if (at !== visit) return;
          if (e.question) {
            question = e.question;
            tree.add(question);
            tree.leaf = question.id;
            if (body.content) accepted(body.content);
            draw();
            under = new Under($("talk"), e.choices);
            $("talk").lastElementChild.scrollIntoView({ block: "end" });
          } else if (e.answers) {
            done = true;
            settle(e.answers);
          } else if (e.error) {
            failed = { status: 500, body: { detail: e.error } };
          } else {
            under.add(e.choice, e.text);
            if (nearEnd()) $("talk").lastElementChild.scrollIntoView({ block: "end" });
          }
        });
      }
    } catch (e) {
      if (e.name !== "AbortError") failed = { status: 0 };
    }
    running = null;
    if (at !== visit) return;
    streaming(false);
    if (under && !done) await recover(question);
    if (failed) problem(failed);
    say.focus();
  }

  const nearEnd = () => document.documentElement.scrollHeight - innerHeight - scrollY < 200;

  // accepted: the server has the question; the text need not be kept here any longer.
  function accepted(text) {
    if (say.value.trim() === text) say.value = "";
    keep();
    stopEditing();
    if (!open.title) open.title = text.slice(0, 120);
    refresh();
  }

  function settle(answers) {
    for (const x of answers) tree.add(x);
    if (answers.length) tree.leaf = answers[0].id;
    draw();
    $("talk").lastElementChild.scrollIntoView({ block: "end" });
    announce(answers.length > 1
      ? t("Two answers. A: %s B: %s", answers[0].content, answers[1].content)
      : answers.length ? t("Answer: %s", answers[0].content) : t("No answer came."));
  }

  // recover looks for what the server kept of an answer that was stopped or broken off.
  async function recover(question) {
    const at = visit;
    for (const wait of [150, 300, 600, 1200, 2400]) {
      await new Promise((done) => setTimeout(done, wait));
      const res = await call("GET", api + "conversations/" + open.id);
      if (at !== visit) return;
      const came = res.status === 200 && (res.body.turns || []).filter((x) => x.parent === question.id && !tree.by.has(x.id));
      if (came && came.length) {
        settle(came);
        return;
      }
    }
    draw();
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
    const content = say.value.trim();
    if (!content || running || $("send").disabled) return;
    answer({ parent: editing ? editing.parent : tree.leaf, content });
  }

  function stopEditing() {
    editing = null;
    $("editing").hidden = true;
  }

  // --- conversations

  async function show(id, push) {
    visit++;
    if (running) running.abort();
    running = null;
    streaming(false);
    tell("");
    stopEditing();
    if (id) {
      const at = visit;
      const got = await ask("GET", "conversations/" + id);
      if (at !== visit) return;
      if (!got) {
        id = "";
      } else {
        open = got;
        tree = new Tree(got.turns || [], got.leaf);
        settings = got.settings || {};
      }
    }
    if (!id) {
      open = null;
      tree = new Tree([], "");
      settings = {};
    }
    if (push) history.pushState({}, "", open ? "/chat?c=" + open.id : "/chat");
    restore();
    draw();
    past.mark(open && open.id);
    document.querySelector(".past").classList.remove("open");
    $("past-open").setAttribute("aria-expanded", "false");
    if (open && $("talk").lastElementChild) $("talk").lastElementChild.scrollIntoView({ block: "end" });
    say.focus({ preventScroll: true });
  }

  function refresh() { past.load(); }

  const past = new Past({ open: (id) => show(id, true), current: () => open && open.id, failed: problem });
  new Dialogs({
    conversation: () => open, leaf: () => tree.leaf, ask, tell, announce,
    settings: () => settings,
    use: (s) => { settings = s; },
    renamed: (c) => { open.title = c.title; draw(); refresh(); },
    gone: () => { kept.set("text:" + key(), null); show("", true); refresh(); },
    shared: (yes) => { open.shared = yes; },
    most: page.dataset.most,
  });

  $("ask").addEventListener("submit", (e) => { e.preventDefault(); send(); });
  say.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); send(); }
    if (e.key === "Escape" && editing) { e.preventDefault(); say.value = ""; keep(); stopEditing(); }
  });
  say.addEventListener("input", keep);
  $("stop").addEventListener("click", () => { if (running) running.abort(); });
  $("fresh").addEventListener("click", () => show("", true));
  $("edit-stop").addEventListener("click", () => { say.value = ""; keep(); stopEditing(); say.focus(); });
  $("past-open").addEventListener("click", () => {
    const on = document.querySelector(".past").classList.toggle("open");
    $("past-open").setAttribute("aria-expanded", String(on));
    if (on) $("find").focus();
  });
  $("compare").checked = Boolean(kept.get("compare"));
  $("compare").addEventListener("change", () => kept.set("compare", $("compare").checked || null));
  $("training").addEventListener("change", async () => {
    const training = $("training").checked;
    if (!open) {
      kept.set("training", training || null);
      draw();
      return;
    }
    const res = await ask("PUT", "conversations/" + open.id, { training });
    if (res) open.training = res.training;
    draw();
    announce($("training-says").textContent);
  });
  addEventListener("popstate", () => show(new URLSearchParams(location.search).get("c") || "", false));
  show(new URLSearchParams(location.search).get("c") || "", false);
  past.load();
})();
