// A labeler's way through the tasks of one project, whatever the question: claim, lease, drafts, submit, undo, skip. Every
// change is kept in this browser at once and on the server a second later; what is submitted without a connection waits
// here and is sent once. A question's own script calls work with what only it knows:
//
//   open(task, draft)   shows a task, with what was done on it before ({} where nothing was)
//   draft()             what is done so far, as fields of the draft
//   missing()           null if it can be submitted, else {say, at}: what is missing, and the element to go to
//   body()              the fields of the submit
//   state()             one line for the bar below
//   key(event, control) acts on a key and says whether it did; control is the control in focus, if any
//   field               the text field that E goes to, if there is one
"use strict";

function work(page) {
  const app = $("app");
  const store = "rl:" + app.dataset.user + ":";
  const here = { project: app.dataset.project };
  const now = () => performance.now();

  let task = null; // what the server gave
  let clock = null; // of the open task: {opened, active, input}
  let leaseEnd = 0;
  let draftTimer = 0;
  let sending = null; // a draft under way
  let busy = false; // between submit and the next task
  let waiting = 0;
  let renewing = false;
  let flushing = false;

  // ---- kept in this browser

  const read = (key) => { try { return JSON.parse(localStorage.getItem(store + key)); } catch { return null; } };
  const write = (key, value) => {
    try {
      if (value === null) localStorage.removeItem(store + key);
      else localStorage.setItem(store + key, JSON.stringify(value));
    } catch { /* full or forbidden: the server's copy remains */ }
  };
  const draftOf = (id) => "draft:" + id;

  function randomKey() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (x) => x.toString(16).padStart(2, "0")).join("");
  }

  // ---- talking to the person

  const say = (text) => { $("live").textContent = ""; requestAnimationFrame(() => { $("live").textContent = text; }); };
  const banner = (text) => { $("banner").textContent = text || ""; $("banner").hidden = !text; };
  const saved = (text) => { $("saved").textContent = text; };
  const time = () => new Date().toLocaleTimeString([], { hour12: false });

  function problem(res) {
    if (res.status === 401) return t("You are signed out. Your work is kept here: sign in again and open this page.");
    if (res.status === 429) return t("Too fast for the server's limit. Trying again in a moment.");
    return (res.body && (res.body.detail || res.body.title)) || t("The server cannot be reached. Your work is kept here.");
  }

  function later(f, seconds) { clearTimeout(waiting); waiting = setTimeout(f, seconds * 1000); }

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
      task = null;
      $("task").hidden = $("dock").hidden = true;
      $("lease").textContent = "";
      $("empty").hidden = false;
      later(next, 10);
    } else {
      banner(problem(res));
      if (res.status !== 401 && res.status !== 403) later(next, Math.max(res.retry, 3));
    }
  }

  function open(given) {
    clearTimeout(waiting);
    clearTimeout(draftTimer);
    task = given;
    const local = read(draftOf(task.assignment));
    const mine = local && local.dirty;
    const d = mine ? local : task.draft || {};
    clock = { opened: now(), active: (local && local.active) || 0, input: now() };
    leaseEnd = now() + task.lease_seconds * 1000;
    $("comment").value = d.comment || "";
    $("note").open = Boolean(d.comment);
    const many = task.open >= Number(app.dataset.openLimit) ? task.open + "+" : task.open;
    $("progress").textContent = t("%s done · %s open", task.done, many);
    $("conversation").replaceChildren(...task.messages.map((m) => turn(m.role, m.content)));
    $("conversation").lang = task.language || "";
    markdown($("instructions"), task.instructions || "");
    $("guide").hidden = !task.instructions;
    if (matchMedia("(max-width: 56rem)").matches && task.done > 3) $("guide").open = false;
    $("empty").hidden = true;
    $("task").hidden = $("dock").hidden = false;
    page.open(task, d);
    for (const e of document.querySelectorAll(".answer, #text")) e.lang = task.language || "";
    render();
    saved(mine ? t("Restored from this browser") : task.draft ? t("Restored") : "");
    window.scrollTo(0, 0);
    const again = task.state === "reopened";
    say(again ? t("Your last answer, open for changes.") : t("New task."));
    if (again) banner(t("This is an answer you submitted. The old one stands until you submit again."));
    if (mine) draftTimer = setTimeout(saveDraft, 1000);
    rereadGuideline(task);
  }

  function render() {
    $("order").textContent = page.state();
    $("submit").setAttribute("aria-disabled", String(page.missing() !== null));
  }

  // ---- drafts

  const draft = () => ({ ...page.draft(), comment: $("comment").value });

  function edited() {
    if (!task) return;
    write(draftOf(task.assignment), { ...draft(), dirty: true, active: clock.active });
    saved("…");
    render();
    clearTimeout(draftTimer);
    draftTimer = setTimeout(saveDraft, 1000);
  }

  async function saveDraft() {
    if (!task || busy) return;
    if (sending) { await sending; if (!task || busy) return; }
    const id = task.assignment;
    const body = draft();
    sending = call("PUT", "/label/api/assignments/" + id + "/draft", body);
    const res = await sending;
    sending = null;
    if (!task || task.assignment !== id || busy) return;
    if (res.status === 204) {
      const local = read(draftOf(id));
      if (local && JSON.stringify(body) === JSON.stringify(draft())) write(draftOf(id), { ...local, dirty: false });
      leaseEnd = now() + task.lease_seconds * 1000;
      saved(t("Saved %s", time()));
      if (task.state !== "reopened") banner("");
      return;
    }
    saved(t("Kept in this browser"));
    if (res.status !== 0 && res.status !== 429 && res.status < 500) banner(problem(res));
    else draftTimer = setTimeout(saveDraft, Math.max(res.retry, 5) * 1000);
  }

  // ---- submitting

  function submit() {
    if (!task || busy) return;
    const missing = page.missing();
    if (missing) {
      say(missing.say);
      saved(missing.say);
      if (missing.at) missing.at.focus();
      return;
    }
    busy = true;
    clearTimeout(draftTimer);
    const item = {
      assignment: task.assignment, key: randomKey(),
      body: { ...page.body(), comment: $("comment").value, active_ms: Math.round(clock.active), wall_ms: Math.round(now() - clock.opened) },
    };
    write("outbox", (read("outbox") || []).concat(item));
    flush(item);
  }

  // flush sends what waits, oldest first, each with the key it was first sent with.
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
        banner(res.status === 0 ? t("No connection. Your answer is kept here and will be sent.") : problem(res));
        saved(t("Waiting to be sent"));
        if (res.status !== 401) later(() => flush(), Math.max(res.retry, 3));
        flushing = false;
        return;
      }
      waited = waited.slice(1);
      write("outbox", waited.length ? waited : null);
      if (res.status === 200) write(draftOf(item.assignment), null);
      else lost = t("An answer was not accepted: %s", problem(res));
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
      banner(res.status === 404 ? t("There is no answer of yours to change.") : problem(res));
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
    const idle = now() - clock.input;
    if (document.visibilityState === "visible" && idle < 30_000) clock.active += 1000;
    const left = Math.round((leaseEnd - now()) / 1000);
    $("lease").textContent = left > 0 ? t("Held for you %s", Math.floor(left / 60) + ":" + String(left % 60).padStart(2, "0")) : t("The hold on this task ran out");
    if (left > 0 && idle < 5 * 60_000 && left < 0.66 * task.lease_seconds && !renewing) renew();
  }, 1000);

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

  // ---- keys: off in text fields, menus, dialogs and while an input method composes

  addEventListener("keydown", (e) => {
    if (!task || busy || e.isComposing || document.querySelector("dialog[open]")) return;
    if (e.target.closest("textarea, select, input:not([type=radio]):not([type=checkbox])")) {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); submit(); }
      else if (e.key === "Escape") e.target.blur();
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const control = e.target.closest("button, summary, a, input");
    if (page.key && page.key(e, control)) { /* the question's own */ }
    else if (e.key === "Enter" && !(control && control.matches("button, summary, a"))) submit();
    else if (e.key === "s") $("skip-dialog").showModal();
    else if (e.key === "u") undo();
    else if (e.key === "?") $("help").showModal();
    else if (e.key === "e" && page.field) page.field.focus();
    else return;
    e.preventDefault();
  });

  $("submit").addEventListener("click", submit);
  $("undo").addEventListener("click", undo);
  $("undo-empty").addEventListener("click", undo);
  $("again").addEventListener("click", next);
  $("skip").addEventListener("click", () => $("skip-dialog").showModal());
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("comment").addEventListener("input", edited);
  $("skip-dialog").addEventListener("close", () => {
    if ($("skip-dialog").returnValue === "skip") skip(new FormData($("skip-form")).get("reason"));
    $("skip-dialog").returnValue = "";
  });

  if ((read("outbox") || []).length) flush(); else next();
  return { edited, say };
}

// judge fills node with the scale of 1 to 7 and the flags of one answer, and calls changed after each change. set gives
// the rating; 0 takes it away.
function judge(node, name, rating, flags, changed) {
  node.replaceChildren($("rate").content.cloneNode(true));
  const own = { rating: rating || 0, flags: (flags || []).slice() };
  const inputs = [];
  own.set = (r) => {
    own.rating = r;
    inputs.forEach((input, i) => { input.checked = i + 1 === r; });
    changed();
  };
  for (let r = 1; r <= 7; r++) {
    const label = element("label", "", String(r));
    const input = element("input");
    Object.assign(input, { type: "radio", name, value: r, checked: own.rating === r });
    input.addEventListener("change", () => own.set(r));
    inputs.push(input);
    label.append(input);
    node.querySelector(".likert").append(label);
  }
  for (const box of node.querySelectorAll(".flags input")) {
    box.checked = own.flags.includes(box.value);
    box.addEventListener("change", () => {
      own.flags = box.checked ? own.flags.concat(box.value) : own.flags.filter((f) => f !== box.value);
      changed();
    });
  }
  own.first = inputs[0];
  own.firstFlag = node.querySelector(".flags input");
  return own;
}
