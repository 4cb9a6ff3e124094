// A labeler's desk: one task after another, whatever its question. It gets tasks and the next one ahead, holds the lease,
// counts the time, saves drafts and sends finished work. Shared by the pages of all question types, together with
// drafts.js, history.js, keymap.js, diff.js and richtext.js.
//
// A page gives its sheet, which knows the question:
//   open(task, draft, place)   shows a task and returns a greeting; draft holds values (or {}), place what place() gave (or null)
//   values()                   what is done so far, as fields of the draft
//   answer()                   the fields of the submit, or null where something is missing, which it says
//   place()                    where the person is, beside the scroll; kept in this browser only
//   close()                    there is no task
// and has elements with the ids app (data-user, data-project, data-open-limit), banner, saved, lease, live, progress, empty,
// task, dock, conversation, guide, instructions, note and comment.
"use strict";

class Desk {
  constructor(sheet) {
    const { user, project, openLimit } = $("app").dataset;
    const prefix = "rl:" + user + ":";
    this.sheet = sheet;
    this.project = project;
    this.openLimit = Number(openLimit);
    this.kept = new Kept(prefix);
    this.drafts = new Drafts(this.kept);
    this.holds = new Holds(prefix);
    this.outbox = new Outbox(this.kept, {
      send: async (item) => {
        await this.saving; // or a draft under way would come after what ends its task, and be refused
        return call("POST", "/label/api/assignments/" + item.assignment + "/submit", item.body, { "Idempotency-Key": item.key }, { keepalive: JSON.stringify(item.body).length < 30_000 });
      },
      settled: (item, res) => this.settled(item, res),
      waiting: (item, res) => {
        this.banner(res.status === 0 ? t("No connection. Your answer is kept here and will be sent.") : problemText(res));
        this.saved(t("Waiting to be sent"));
      },
    });
    this.task = null;
    this.ahead = []; // tasks under lease that come next; fresh: nobody has worked on them
    this.counts = { done: 0, open: 0 };
    this.clock = null; // of the open task: {opened: Date, active: ms, input}
    this.busy = false; // while the server is asked what to show
    this.saveTimer = this.nextTimer = 0;
    this.saving = this.fetching = null;
    this.lost = ""; // a notice for the next task
  }

  async start() {
    history.scrollRestoration = "manual"; // places are kept by task
    setInterval(() => this.tick(), 1000);
    for (const kind of ["keydown", "pointerdown", "scroll"]) addEventListener(kind, () => { if (this.clock) this.clock.input = performance.now(); }, { passive: true });
    addEventListener("online", () => { this.outbox.flush(); if (this.task) this.save().then(() => this.fetchAhead()); else this.next(); });
    addEventListener("offline", () => { if (this.task) this.saved(t("Offline: kept in this browser")); });
    addEventListener("pagehide", () => this.leave());
    addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); }); // its holds were given back
    let scrolled = 0;
    addEventListener("scroll", () => { clearTimeout(scrolled); scrolled = setTimeout(() => this.moved(), 150); }, { passive: true });
    $("comment").addEventListener("input", () => this.edited());
    for (const id of ["undo", "undo-empty"]) $(id).addEventListener("click", () => this.undo());
    $("again").addEventListener("click", () => this.next());
    for (const dialog of document.querySelectorAll("dialog[data-leave]")) { // skip, report: each with its reasons
      dialog.addEventListener("close", () => {
        if (dialog.returnValue === dialog.dataset.leave) this.skip(new FormData(dialog.querySelector("form")).get("reason"));
        dialog.returnValue = "";
      });
    }
    await this.outbox.flush();
    return this.next();
  }

  // ---- talking to the person

  say(text) { $("live").textContent = ""; afterPaint(() => { $("live").textContent = text; }); }
  banner(text) { $("banner").textContent = text || ""; $("banner").hidden = !text; }
  saved(text) { $("saved").textContent = text; }

  progress() {
    const { done, open } = this.counts;
    $("progress").textContent = t("%s done · %s open", done, open >= this.openLimit ? open + "+" : open);
  }

  // ---- which task

  // obtain asks for a task that no tab of this browser has, and that does not wait to be sent: {task}, or {res}. One that this page has
  // comes where its lease was lost on the way, and has it again.
  async obtain() {
    const busy = new Set(this.outbox.items.map((i) => i.assignment));
    for (let tries = 0; tries < 4; tries++) {
      const held = new Set([...busy, ...await this.holds.all()]);
      const sent = performance.now();
      const res = await call("POST", "/label/api/next", { project: this.project, held: [...held].slice(0, 40) });
      if (res.status !== 200) return { res };
      const task = res.body;
      task.leaseEnd = sent + task.lease_seconds * 1000;
      for (const mine of [this.task, ...this.ahead]) {
        if (mine && mine.assignment === task.assignment) Object.assign(mine, { leaseEnd: task.leaseEnd, lease_until: task.lease_until });
      }
      if (!held.has(task.assignment) && await this.holds.take(task.assignment)) return { task };
      busy.add(task.assignment); // another tab was quicker
    }
    return { res: { status: 204, body: null, retry: 0 } };
  }

  async next() {
    clearTimeout(this.nextTimer);
    if (this.busy) return;
    if (!this.ahead.length && this.fetching) {
      this.busy = true;
      await this.fetching;
      this.busy = false;
    }
    while (this.ahead.length) {
      const task = this.ahead.shift();
      this.counts.open = Math.max(0, this.counts.open - 1);
      if (task.leaseEnd > performance.now() || !task.fresh) return this.open(task);
      this.holds.give(task.assignment);
    }
    this.busy = true;
    await this.outbox.flush(); // first: what lands while the server counts would be counted twice, or not at all
    const { task, res } = await this.obtain();
    this.busy = false;
    if (task) {
      this.counts = { done: task.done + this.outbox.items.length, open: task.open };
      this.banner(this.lost);
      this.open(task);
    } else if (res.status === 204) {
      this.banner(this.lost);
      this.close();
      $("empty").hidden = false;
      this.later(10);
    } else {
      this.close();
      if (res.status !== 0 || this.outbox.empty) this.banner(problemText(res));
      if (res.status !== 401 && res.status !== 403) this.later(Math.max(res.retry, 3));
    }
    this.lost = "";
  }

  later(seconds) {
    clearTimeout(this.nextTimer);
    this.nextTimer = setTimeout(() => this.next(), seconds * 1000);
  }

  // fetchAhead has the next task ready before it is wanted.
  fetchAhead() {
    if (!this.task || this.busy || this.ahead.length || this.fetching) return;
    this.fetching = this.obtain().then(({ task }) => {
      this.fetching = null;
      if (!task) return;
      task.fresh = !task.draft;
      this.ahead.push(task);
      this.counts.open = task.open + 1; // it is still to be done
    });
  }

  open(task) {
    clearTimeout(this.nextTimer);
    clearTimeout(this.saveTimer);
    this.saveTimer = 0;
    this.task = task;
    const local = this.drafts.get(task.assignment);
    const unsaved = local && local.dirty;
    this.clock = { opened: (local && local.opened) || Date.now(), active: (local && local.active) || 0, input: performance.now() };
    this.progress();
    $("empty").hidden = true;
    $("task").hidden = $("dock").hidden = false;
    this.saved(unsaved ? t("Restored from this browser") : task.draft ? t("Restored") : "");
    const draft = (unsaved ? local.values : task.draft) || {};
    this.context(task, draft.comment || "");
    const greeting = this.sheet.open(task, draft, local ? local.place : null);
    scrollTo({ top: local ? local.place.scroll : 0, behavior: "instant" });
    this.say(task.state === "reopened" ? t("Your last answer, open for changes.") : greeting);
    if (task.state === "reopened") this.banner(t("This is an answer you submitted. The old one stands until you submit again."));
    rereadGuideline(task);
    if (unsaved) this.saveTimer = setTimeout(() => this.save(), 700);
    afterPaint(() => this.outbox.flush().then(() => this.fetchAhead()));
  }

  // context shows what is the same for all questions: the conversation, the instructions, the note.
  context(task, comment) {
    $("comment").value = comment;
    $("note").open = Boolean(comment);
    $("conversation").replaceChildren(...task.messages.map((m) => turn(m.role, m.content)));
    $("conversation").lang = task.language || "";
    markdown($("instructions"), task.instructions || "");
    $("guide").hidden = !task.instructions;
    if (matchMedia("(max-width: 56rem)").matches && task.done > 3) $("guide").open = false;
  }

  // veil puts a veil over what others found disturbing.
  veil(kinds, over) {
    const words = { unsafe: t("not safe to show"), harmful: t("harmful"), sexual: t("sexual"), violent: t("violent"), denigrates: t("denigrating") };
    $("veil").hidden = kinds.length === 0;
    over.hidden = kinds.length > 0;
    $("veil-why").textContent = t("Other labelers found: %s.", kinds.map((k) => words[k] || k).join(", "));
  }

  close() {
    this.task = null;
    this.clock = null;
    $("task").hidden = $("dock").hidden = true;
    $("lease").textContent = "";
    this.sheet.close();
  }

  // leave gives the work ahead back to others when the page goes, and sends the last moment's edits.
  leave() {
    for (const a of this.ahead) if (a.fresh) navigator.sendBeacon("/label/api/assignments/" + a.assignment + "/release?until=" + encodeURIComponent(a.lease_until));
    this.ahead = [];
    this.holds.giveAll();
    if (!this.task || this.busy) return;
    this.moved();
    const local = this.drafts.get(this.task.assignment);
    if (local && local.dirty) call("PUT", "/label/api/assignments/" + this.task.assignment + "/draft", local.values, {}, { keepalive: true });
  }

  // ---- drafts

  values() { return { ...this.sheet.values(), comment: $("comment").value }; }

  keep(dirty) {
    const place = { ...this.sheet.place(), scroll: Math.round(scrollY) };
    this.drafts.set(this.task.assignment, { values: this.values(), place, dirty, active: this.clock.active, opened: this.clock.opened });
  }

  // edited is called after every change; moved when only the focus or the scroll did.
  edited() {
    if (!this.task) return;
    this.keep(true);
    this.saved(this.kept.durable ? "…" : t("This browser keeps nothing: do not close the page before it is saved"));
    if (!this.saveTimer) this.saveTimer = setTimeout(() => this.save(), 700);
  }

  moved() {
    if (!this.task) return;
    const local = this.drafts.get(this.task.assignment);
    this.keep(Boolean(local && local.dirty));
  }

  async save() {
    clearTimeout(this.saveTimer);
    this.saveTimer = 0;
    if (this.saving) await this.saving;
    const task = this.task;
    if (!task || this.busy || !(this.drafts.get(task.assignment) || {}).dirty) return;
    const values = this.values();
    this.saving = call("PUT", "/label/api/assignments/" + task.assignment + "/draft", values);
    const res = await this.saving;
    this.saving = null;
    if (this.task !== task) return;
    const again = (seconds) => { if (!this.saveTimer) this.saveTimer = setTimeout(() => this.save(), seconds * 1000); };
    if (res.status === 204) {
      if (JSON.stringify(values) === JSON.stringify(this.values())) this.keep(false);
      else again(0.7);
      task.leaseEnd = performance.now() + task.lease_seconds * 1000;
      this.saved(t("Saved %s", clockTime()));
      if (task.troubled && task.state !== "reopened") this.banner("");
      task.troubled = false;
      return;
    }
    this.saved(t("Kept in this browser"));
    if (res.status === 401 || res.status === 409 || res.status === 404) {
      task.troubled = true;
      this.banner(res.status === 401 ? problemText(res) : t("This task was finished or withdrawn elsewhere. What you entered is kept in this browser. Skip to go on."));
    }
    if (res.status === 0 || res.status === 429 || res.status >= 500) again(Math.max(res.retry, 2));
  }

  // ---- finishing

  // submit puts the answer into the outbox and shows the task that is ready, without asking the server in between.
  submit() {
    if (!this.task || this.busy) return;
    const answer = this.sheet.answer();
    if (!answer) return;
    performance.mark("submit");
    const task = this.task;
    this.outbox.add({ assignment: task.assignment, body: { ...answer, comment: $("comment").value, active_ms: Math.round(this.clock.active), wall_ms: Math.max(0, Date.now() - this.clock.opened) } });
    this.drafts.drop(task.assignment);
    clearTimeout(this.saveTimer);
    this.saveTimer = 0;
    if (task.state === "leased") this.counts.done++;
    this.banner("");
    this.saved(t("Submitting…"));
    this.task = null;
    const shown = () => afterPaint(() => performance.measure("next-task", "submit"));
    if (this.ahead.length) {
      this.next();
      shown();
    } else {
      this.outbox.flush().then(() => this.next()).then(shown);
    }
  }

  // settled also gives the hold back: until then, nothing that asks for tasks may be given this one again.
  settled(item, res) {
    this.holds.give(item.assignment);
    if (res.status === 200) {
      if (!this.task || !(this.drafts.get(this.task.assignment) || {}).dirty) this.saved(t("Saved %s", clockTime()));
      if (res.body && res.body.surplus) this.notice(t("The hold on your last task had run out and others had filled its places: your answer is kept, but does not count."));
      else if ($("banner").textContent === t("No connection. Your answer is kept here and will be sent.")) this.banner("");
      return;
    }
    this.drafts.set(item.assignment, { values: item.body, dirty: false });
    this.notice(t("An answer was not accepted: %s. It is kept in this browser.", problemText(res)));
  }

  // notice is a banner that outlives the change to the next task.
  notice(text) {
    this.lost = text;
    if (this.task) { this.banner(text); this.lost = ""; }
    this.say(text);
  }

  // undo opens what was submitted last; the open task waits its turn with its draft.
  async undo() {
    if (this.busy) return;
    this.busy = true;
    await this.outbox.flush();
    await this.saving;
    await this.fetching; // or it would be given what is about to be reopened
    const unsent = !this.outbox.empty;
    const res = unsent ? null : await call("POST", "/label/api/undo", { project: this.project });
    this.busy = false;
    if (unsent) return this.notice(t("Your last answer is not sent yet. It can be changed when the connection is back."));
    if (res.status !== 200) return this.notice(res.status === 404 ? t("There is no answer of yours to change.") : problemText(res));
    const task = res.body;
    if (this.task && this.task.assignment === task.assignment) return this.notice(t("This is your last answer."));
    if (this.task) {
      this.task.draft = this.values();
      this.task.fresh = false;
      this.ahead.unshift(this.task);
      this.counts.open++;
    }
    task.leaseEnd = performance.now() + task.lease_seconds * 1000;
    this.drafts.drop(task.assignment);
    await this.holds.take(task.assignment);
    this.open(task);
  }

  // skip gives the task back for good, with a reason.
  async skip(reason) {
    const task = this.task;
    while (this.busy) await new Promise((done) => setTimeout(done, 50)); // a dialog was answered for it: that is not lost
    if (!task || this.task !== task) return;
    this.busy = true;
    await this.saving;
    const res = await call("POST", "/label/api/assignments/" + task.assignment + "/skip", { reason });
    this.busy = false;
    if (res.status === 0 || res.status === 401 || res.status === 429 || res.status >= 500) return this.notice(problemText(res));
    this.drafts.drop(task.assignment); // skipped now, or finished elsewhere before
    this.holds.give(task.assignment);
    clearTimeout(this.saveTimer);
    this.saveTimer = 0;
    this.task = null;
    this.banner("");
    return this.next();
  }

  // ---- time and lease

  tick() {
    const task = this.task;
    if (!task || this.busy) return;
    const idle = performance.now() - this.clock.input;
    if (document.visibilityState === "visible" && idle < 30_000) this.clock.active += 1000;
    const left = Math.round((task.leaseEnd - performance.now()) / 1000);
    $("lease").textContent = left > 0 ? t("Held for you %s", Math.floor(left / 60) + ":" + String(left % 60).padStart(2, "0")) : t("The hold on this task ran out");
    if (idle < 5 * 60_000) for (const a of [task, ...this.ahead]) this.renew(a);
  }

  // renew is a sign of life, given once a third of the lease is over.
  async renew(task) {
    const left = (task.leaseEnd - performance.now()) / 1000;
    if (left > 0.66 * task.lease_seconds || task.renewing) return;
    task.renewing = true;
    const res = await call("POST", "/label/api/assignments/" + task.assignment + "/renew");
    if (res.status === 200) {
      task.leaseEnd = performance.now() + res.body.lease_seconds * 1000;
      task.lease_until = res.body.lease_until;
    } else if (res.status === 409 || res.status === 404) {
      if (this.task === task && left <= 0) {
        this.banner(t("The hold on this task ran out. Your work is kept: you can still submit, and it counts if nobody else took the place."));
      }
      if (task.fresh && this.ahead.includes(task)) {
        this.ahead = this.ahead.filter((a) => a !== task);
        this.holds.give(task.assignment);
      }
    }
    setTimeout(() => { task.renewing = false; }, Math.min(30, task.lease_seconds / 4) * 1000);
  }
}

// afterPaint calls f when the page has been drawn; in a tab that is not drawn, soon.
function afterPaint(f) {
  if (document.visibilityState === "hidden") setTimeout(f, 0);
  else requestAnimationFrame(() => setTimeout(f, 0));
}

function clockTime() { return new Date().toLocaleTimeString(document.documentElement.lang, { hour12: false }); }

function problemText(res) {
  if (res.status === 401) return t("You are signed out. Your work is kept here: sign in again and open this page.");
  if (res.status === 429) return t("Too fast for the server's limit. Trying again in a moment.");
  return (res.body && (res.body.detail || res.body.title)) || t("The server cannot be reached. Your work is kept here.");
}
