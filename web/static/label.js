// The labeling page: one task at a time, ranked by keys, drag, buttons or menus. Every change is kept in this browser at
// once and on the server a second later; a ranking submitted without a connection waits here and is sent once.
"use strict";

(() => {
  const app = $("app");
  const store = "rl:" + app.dataset.user + ":";
  const here = { project: app.dataset.project };
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const now = () => performance.now();

  let task = null; // what the server gave
  let ranking = null;
  let ratings = [];
  let flags = [];
  let focus = 0;
  let cards = []; // elements in the order shown (A, B, ...)
  let divider = null;
  let sortable = null;
  let clock = null; // of the open task: {opened, active, input}
  let leaseEnd = 0;
  let draftTimer = 0;
  let draftSending = null;
  let busy = false; // between submit and the next task

  // ---- kept in this browser

  const read = (key) => { try { return JSON.parse(localStorage.getItem(store + key)); } catch { return null; } };
  const write = (key, value) => {
    try {
      if (value === null) localStorage.removeItem(store + key);
      else localStorage.setItem(store + key, JSON.stringify(value));
      return true;
    } catch { return false; } // full or forbidden: the server's copy remains
  };
  const draftOf = (id) => "draft:" + id;

  function randomKey() {
    const b = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
  }

  // ---- talking to the person

  const say = (text) => { $("live").textContent = ""; requestAnimationFrame(() => { $("live").textContent = text; }); };
  function banner(text) { $("banner").textContent = text || ""; $("banner").hidden = !text; }
  const saved = (text) => { $("saved").textContent = text; };
  const time = () => new Date().toLocaleTimeString(document.documentElement.lang, { hour12: false });

  function problem(res) {
    if (res.status === 401) return t("You are signed out. Your work is kept here: sign in again and open this page.");
    if (res.status === 429) return t("Too fast for the server's limit. Trying again in a moment.");
    return (res.body && (res.body.detail || res.body.title)) || t("The server cannot be reached. Your work is kept here.");
  }

  // ---- tasks

  async function next() {
    busy = true;
    const res = await call("POST", "/label/api/claim", here);
    busy = false;
    if (res.status === 200) {
      banner("");
      open(res.body);
    } else if (res.status === 204) {
      banner("");
      close();
      $("empty").hidden = false;
      later(next, 10);
    } else {
      banner(problem(res));
      if (res.status !== 401 && res.status !== 403) later(next, Math.max(res.retry, 3));
    }
  }

  let waiting = 0;
  function later(f, seconds) { clearTimeout(waiting); waiting = setTimeout(f, seconds * 1000); }

  function close() {
    task = null;
    $("task").hidden = $("dock").hidden = true;
    $("lease").textContent = "";
  }

  function open(given) {
    clearTimeout(waiting);
    clearTimeout(draftTimer);
    task = given;
    const local = read(draftOf(given.assignment));
    const d = local && local.dirty ? local : given.draft || {};
    const k = given.answers.length;
    ranking = new Ranking(k, d.ranks);
    ratings = d.ratings && d.ratings.length === k ? d.ratings.slice() : new Array(k).fill(0);
    flags = Array.from({ length: k }, (_, i) => (d.flags && d.flags[i]) || []);
    const first = ranking.ranks.indexOf(0);
    focus = d.focus !== undefined && d.focus < k && (d.ranks || []).length ? d.focus : Math.max(first, 0);
    clock = { opened: now(), active: (local && local.active) || 0, input: now() };
    leaseEnd = now() + given.lease_seconds * 1000;
    $("comment").value = d.comment || "";
    $("note").open = Boolean(d.comment);
    $("progress").textContent = t("%s ranked · %s open", given.done, given.open >= Number(app.dataset.openLimit) ? given.open + "+" : given.open);
    $("conversation").replaceChildren(...given.messages.map((m) => turn(m.role, m.content)));
    $("conversation").lang = given.language || "";
    markdown($("instructions"), given.instructions || "");
    $("guide").hidden = !given.instructions;
    if (matchMedia("(max-width: 56rem)").matches && given.done > 3) $("guide").open = false;
    build();
    render(false);
    saved(local && local.dirty ? t("Restored from this browser") : given.draft ? t("Restored") : "");
    $("empty").hidden = true;
    $("task").hidden = $("dock").hidden = false;
    window.scrollTo(0, 0);
    cards[focus].focus({ preventScroll: true });
    say(given.state === "reopened" ? t("Your last ranking, open for changes. %s answers.", k) : t("New task. %s answers.", k));
    if (given.state === "reopened") banner(t("This is a ranking you submitted. The old one stands until you submit again."));
    if (local && local.dirty) draftTimer = setTimeout(saveDraft, 1000);
    rereadGuideline(given);
  }

  // ---- cards

  function build() {
    const list = $("cards");
    if (sortable) sortable.destroy();
    list.replaceChildren();
    cards = task.answers.map((a, i) => card(a, i));
    divider = element("li", "divider row");
    divider.append(element("span"));
    list.append(divider, ...cards);
    sortable = new Sortable(list, {
      draggable: ".row", handle: ".handle", forceFallback: true, fallbackTolerance: 3, ghostClass: "ghost",
      animation: calm.matches ? 0 : 140, scrollSensitivity: 80,
      onStart: (e) => setFocus(cards.indexOf(e.item)),
      onEnd: (e) => {
        const rows = [...list.children];
        const order = rows.filter((x) => x !== divider).map((x) => cards.indexOf(x));
        ranking.drop(cards.indexOf(e.item), order, rows.indexOf(divider));
        changed(cards.indexOf(e.item));
      },
    });
  }

  function card(answer, i) {
    const li = $("card").content.firstElementChild.cloneNode(true);
    const q = (s) => li.querySelector(s);
    li.dataset.key = answer.key;
    q(".name").append(element("span", "word", t("Answer")), answer.key);
    showText(q(".answer"), answer.text);
    q(".answer").lang = task.language || languageOf(answer.text);
    const select = q("select");
    select.id = "rank-" + i;
    q("label.sr").htmlFor = select.id;
    q("label.sr").textContent = t("Rank of answer %s", answer.key);
    for (let r = 0; r <= task.answers.length; r++) select.add(new Option(r ? t("Rank %s", r) : t("Not ranked"), r));
    select.addEventListener("change", () => { if (ranking.set(i, Number(select.value))) changed(i); });
    for (const [name, f] of [["up", "up"], ["down", "down"], ["tie", "tie"]]) {
      const b = q("." + name);
      b.addEventListener("click", () => { setFocus(i); if (ranking[f](i)) { changed(i); b.focus(); } });
    }
    q(".up").setAttribute("aria-label", t("Move answer %s up", answer.key));
    q(".down").setAttribute("aria-label", t("Move answer %s down", answer.key));
    q(".tie").setAttribute("aria-label", t("Tie answer %s with the one above", answer.key));
    const likert = q(".likert");
    for (let r = 1; r <= 7; r++) {
      const l = element("label", "", String(r));
      const input = element("input");
      Object.assign(input, { type: "radio", name: "rating-" + i, value: r, checked: ratings[i] === r });
      input.addEventListener("change", () => { ratings[i] = r; edited(); });
      l.append(input);
      likert.append(l);
    }
    for (const box of li.querySelectorAll(".flags input")) {
      box.checked = flags[i].includes(box.value);
      box.addEventListener("change", () => {
        flags[i] = box.checked ? flags[i].concat(box.value) : flags[i].filter((f) => f !== box.value);
        edited();
      });
    }
    q(".more").open = ratings[i] > 0 || flags[i].length > 0;
    li.addEventListener("mousedown", () => setFocus(i));
    li.addEventListener("focusin", () => setFocus(i));
    return li;
  }

  function setFocus(i) {
    focus = i;
    cards.forEach((c, n) => {
      c.classList.toggle("focus", n === i);
      c.tabIndex = n === i ? 0 : -1;
    });
  }

  // render brings the page in line with the ranking; cards glide to their new places.
  function render(glide) {
    const list = $("cards");
    const active = document.activeElement;
    const was = new Map(cards.map((c) => [c, c.getBoundingClientRect().top]));
    const above = task.answers.length - ranking.left;
    const rows = ranking.sequence.map((i) => cards[i]);
    rows.splice(above, 0, divider);
    rows.forEach((row, n) => { if (list.children[n] !== row) list.insertBefore(row, list.children[n] || null); });
    divider.hidden = ranking.complete;
    divider.firstChild.textContent = above === 0 ? t("Drag the best answer above this line, or press its rank") : t("Not ranked yet");
    const shown = ranking.shown();
    ranking.sequence.forEach((i, n) => {
      const c = cards[i];
      const r = shown[i];
      const tied = ranking.tied(i);
      c.classList.toggle("ranked", r > 0);
      c.classList.toggle("tied", tied);
      c.querySelector(".badge").textContent = r || "–";
      c.querySelector("select").value = r;
      c.querySelector(".tie").setAttribute("aria-pressed", String(tied));
      c.querySelector(".tie").disabled = ranking.above(i) < 0;
      c.querySelector(".up").disabled = r > 0 && n === 0;
      c.querySelector(".down").disabled = r === 0 || (n === cards.length - 1 && !tied);
      c.setAttribute("aria-label", t("Answer %s, %s of %s, %s", task.answers[i].key, n + 1, cards.length, describe(i)));
    });
    $("order").textContent = ranking.text() || t("Nothing ranked yet");
    $("submit").setAttribute("aria-disabled", String(!ranking.complete));
    setFocus(focus);
    if (active && list.contains(active) && document.activeElement !== active) active.focus({ preventScroll: true });
    if (!glide || calm.matches) return;
    for (const c of cards) {
      const by = was.get(c) - c.getBoundingClientRect().top;
      if (by) c.animate([{ transform: "translateY(" + by + "px)" }, { transform: "none" }], { duration: 160, easing: "ease-out" });
    }
  }

  function describe(i) {
    const r = ranking.shown()[i];
    if (!r) return t("not ranked");
    const others = ranking.groups().find((g) => g.includes(i)).filter((x) => x !== i);
    return others.length ? t("rank %s, tied with %s", r, others.map(letter).join(", ")) : t("rank %s", r);
  }

  function changed(i) {
    render(true);
    const left = ranking.left;
    say(left ? tn("Answer %[2]s, %[3]s. %[1]s left.", "Answer %[2]s, %[3]s. %[1]s left.", left, letter(i), describe(i))
      : t("Answer %s, %s. All ranked: %s. Enter submits.", letter(i), describe(i), ranking.text()));
    edited();
  }

  function moveFocus(i) {
    setFocus(i);
    cards[i].focus({ preventScroll: true });
    reveal(cards[i]);
  }

  let aim = null; // where a scroll under way will end
  addEventListener("scrollend", () => { aim = null; });

  // reveal scrolls a card into the room between the window's top and the dock. It goes by layout: while cards glide, what
  // can be measured on the screen is where they come from.
  function reveal(c) {
    let top = 0;
    for (let e = c; e; e = e.offsetParent) top += e.offsetTop;
    const room = innerHeight - $("dock").offsetHeight - 24;
    const from = aim === null ? scrollY : aim;
    let to = from;
    if (top + c.offsetHeight > from + room) to = top + c.offsetHeight - room;
    if (top - 24 < to) to = top - 24; // a card that is too tall shows its beginning
    to = Math.round(Math.max(0, Math.min(to, document.documentElement.scrollHeight - innerHeight)));
    if (to === from) return;
    aim = to === Math.round(scrollY) ? null : to;
    scrollTo({ top: to, behavior: calm.matches ? "auto" : "smooth" });
  }

  // ---- drafts

  function draft() {
    return { ranks: ranking.ranks, ratings, flags, comment: $("comment").value, focus };
  }

  function edited() {
    write(draftOf(task.assignment), { ...draft(), dirty: true, active: clock.active });
    saved("…");
    clearTimeout(draftTimer);
    draftTimer = setTimeout(saveDraft, 1000);
  }

  async function saveDraft() {
    if (!task || busy) return;
    if (draftSending) { await draftSending; if (!task || busy) return; }
    const id = task.assignment;
    const body = draft();
    const text = JSON.stringify(body);
    draftSending = call("PUT", "/label/api/assignments/" + id + "/draft", body);
    const res = await draftSending;
    draftSending = null;
    if (!task || task.assignment !== id || busy) return;
    if (res.status === 204) {
      const local = read(draftOf(id));
      if (local && text === JSON.stringify(draft())) write(draftOf(id), { ...local, dirty: false });
      leaseEnd = now() + task.lease_seconds * 1000;
      saved(t("Saved %s", time()));
      banner(task.state === "reopened" ? $("banner").textContent : "");
      return;
    }
    saved(t("Kept in this browser"));
    if (res.status === 401 || res.status === 409) banner(problem(res));
    if (res.status === 0 || res.status === 429 || res.status >= 500) draftTimer = setTimeout(saveDraft, Math.max(res.retry, 5) * 1000);
  }

  // ---- submitting

  function submit() {
    if (!task || busy) return;
    if (!ranking.complete) {
      const first = ranking.sequence.find((i) => ranking.ranks[i] === 0);
      say(tn("%s answer is not ranked yet.", "%s answers are not ranked yet.", ranking.left));
      moveFocus(first);
      return;
    }
    busy = true;
    clearTimeout(draftTimer);
    const id = task.assignment;
    const item = {
      assignment: id, key: randomKey(),
      body: {
        ranks: ranking.ranks, ratings, flags, comment: $("comment").value,
        active_ms: Math.round(clock.active), wall_ms: Math.round(now() - clock.opened),
      },
    };
    write("outbox", (read("outbox") || []).concat(item));
    flush(item);
  }

  // flush sends what waits, oldest first, each with the key it was first sent with.
  let flushing = false;
  async function flush(fallback) {
    if (flushing) return;
    flushing = true;
    let waited = read("outbox") || (fallback ? [fallback] : []);
    let lost = "";
    while (waited.length) {
      const item = waited[0];
      saved(t("Submitting…"));
      const res = await call("POST", "/label/api/assignments/" + item.assignment + "/submit", item.body, { "Idempotency-Key": item.key });
      if (res.status === 0 || res.status === 401 || res.status === 429 || res.status >= 500) {
        banner(res.status === 0 ? t("No connection. Your ranking is kept here and will be sent.") : problem(res));
        saved(t("Waiting to be sent"));
        if (res.status !== 401) later(() => flush(), Math.max(res.retry, 3));
        flushing = false;
        return;
      }
      waited = waited.slice(1);
      write("outbox", waited.length ? waited : null);
      if (res.status === 200) {
        write(draftOf(item.assignment), null);
      } else {
        lost = t("A ranking was not accepted: %s", problem(res));
      }
    }
    flushing = false;
    saved(t("Saved %s", time()));
    await next();
    if (lost) banner(lost);
  }

  async function undo() {
    if (busy) return;
    if (task) await saveDraft();
    const res = await call("POST", "/label/api/undo", here);
    if (res.status === 200) {
      write(draftOf(res.body.assignment), null);
      open(res.body);
    } else {
      banner(res.status === 404 ? t("There is no ranking of yours to change.") : problem(res));
      say($("banner").textContent);
    }
  }

  async function skip(reason) {
    if (!task || busy) return;
    busy = true;
    clearTimeout(draftTimer);
    const id = task.assignment;
    const res = await call("POST", "/label/api/assignments/" + id + "/skip", { reason });
    busy = false;
    if (res.status === 204) {
      write(draftOf(id), null);
      next();
    } else {
      banner(problem(res));
    }
  }

  // ---- time and lease

  setInterval(() => {
    if (!task || busy) return;
    if (document.visibilityState === "visible" && now() - clock.input < 30_000) clock.active += 1000;
    const left = Math.round((leaseEnd - now()) / 1000);
    $("lease").textContent = left > 0 ? t("Held for you %s", Math.floor(left / 60) + ":" + String(left % 60).padStart(2, "0")) : t("The hold on this task ran out");
    const idle = now() - clock.input;
    if (left > 0 && idle < 5 * 60_000 && left < 0.66 * task.lease_seconds && !renewing) renew();
  }, 1000);

  let renewing = false;
  async function renew() {
    renewing = true;
    const id = task.assignment;
    const res = await call("POST", "/label/api/assignments/" + id + "/renew");
    if (task && task.assignment === id) {
      if (res.status === 200) {
        task.lease_seconds = res.body.lease_seconds;
        leaseEnd = now() + res.body.lease_seconds * 1000;
      } else if (res.status === 409) {
        banner(t("The hold on this task ran out. You can still submit: it counts if nobody else took the place."));
      }
    }
    setTimeout(() => { renewing = false; }, 30_000);
  }

  for (const kind of ["keydown", "pointerdown", "scroll"]) addEventListener(kind, () => { if (clock) clock.input = now(); }, { passive: true });
  addEventListener("online", () => { if ((read("outbox") || []).length) flush(); else if (!task) next(); });
  addEventListener("pagehide", () => { // the last second of edits
    if (!task || busy) return;
    const local = read(draftOf(task.assignment));
    if (local && local.dirty) call("PUT", "/label/api/assignments/" + task.assignment + "/draft", draft(), {}, { keepalive: true });
  });

  // ---- keys: one table; off in text fields, menus, dialogs and while an input method composes

  function pressed(e) {
    if (!task || busy || e.isComposing || document.querySelector("dialog[open]")) return;
    const on = e.target;
    if (on.closest("textarea, select, input:not([type=radio]):not([type=checkbox])")) return;
    if ((e.ctrlKey || e.metaKey) && !e.altKey && e.key.toLowerCase() === "z" && !e.shiftKey) {
      if (ranking.takeBack()) { render(true); edited(); say(t("Taken back: %s", ranking.text() || t("Nothing ranked yet"))); }
      e.preventDefault();
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const at = ranking.sequence.indexOf(focus);
    const step = (n) => moveFocus(ranking.sequence[Math.min(Math.max(at + n, 0), ranking.k - 1)]);
    const act = (ok) => { if (ok) { changed(focus); moveFocus(focus); } };
    const onControl = on.closest("button, summary, a, input");
    if (/^[1-9]$/.test(e.key) && Number(e.key) <= ranking.k) {
      const i = focus;
      if (ranking.set(i, Number(e.key))) changed(i);
      const order = [...Array(ranking.k).keys()];
      const open = order.slice(i + 1).concat(order.slice(0, i)).find((x) => ranking.ranks[x] === 0);
      moveFocus(open === undefined ? i : open);
    } else if (e.key === "0") act(ranking.set(focus, 0));
    else if (e.key === "=") act(ranking.tie(focus));
    else if (e.key === "J" || (e.key === "ArrowDown" && e.shiftKey)) act(ranking.down(focus));
    else if (e.key === "K" || (e.key === "ArrowUp" && e.shiftKey)) act(ranking.up(focus));
    else if (e.key === "j" || (e.key === "ArrowDown" && !onControl)) step(1);
    else if (e.key === "k" || (e.key === "ArrowUp" && !onControl)) step(-1);
    else if (e.key === "Enter" && !onControl) submit();
    else if (e.key === "s") openDialog("skip-dialog");
    else if (e.key === "u") undo();
    else if (e.key === "?") openDialog("help");
    else return;
    e.preventDefault();
  }
  addEventListener("keydown", pressed);

  function openDialog(id) { $(id).showModal(); }

  $("submit").addEventListener("click", submit);
  $("undo").addEventListener("click", undo);
  $("undo-empty").addEventListener("click", undo);
  $("again").addEventListener("click", next);
  $("skip").addEventListener("click", () => openDialog("skip-dialog"));
  $("help-open").addEventListener("click", () => openDialog("help"));
  $("comment").addEventListener("input", edited);
  $("skip-dialog").addEventListener("close", () => {
    if ($("skip-dialog").returnValue === "skip") skip(new FormData($("skip-form")).get("reason"));
    $("skip-dialog").returnValue = "";
  });

  if ((read("outbox") || []).length) flush(); else next();
})();
