// The pages of questions other than rankings. Tasks, drafts and sending are the desk's (desk.js), keys the keymap's
// (keymap.js); a question's own script calls work with what only it knows:
//
//   open(task, draft)   shows a task, with what was done on it before ({} where nothing was)
//   draft()             what is done so far, as fields of the draft
//   missing()           null if it can be submitted, else {say, at}: what is missing, and the element to go to
//   body()              the fields of the submit
//   line()              one line for the bar below
//   actions             the question's own keys, as a Keymap takes them
//   field               the text field that E goes to, if there is one
//   judged              {of, list}: how the answers are called that are rated or flagged, and what judge gave of each
//   marks(), restore(m) what Ctrl+Z takes back beside the text, which the browser's own Ctrl+Z does; may be missing
"use strict";

function work(page) {
  const app = $("app");
  let past = new History();
  let marks = ""; // as they were after the last change

  const desk = new Desk({
    open(task, draft, at) {
      const begun = Object.keys(draft).length > 0 || at !== null;
      setMode("");
      page.open(task, draft);
      for (const e of document.querySelectorAll(".answer, #text")) e.lang = task.language || languageOf(task.answers.map((a) => a.text).join("\n"));
      past = new History();
      marks = page.marks ? JSON.stringify(page.marks()) : "";
      desk.veil(begun ? [] : task.warning || [], $("sheet"));
      if (!$("veil").hidden) $("unveil").focus();
      keymap.paint();
      render();
      return t("New task.");
    },
    values: page.draft,
    answer() {
      if (!$("veil").hidden) return null;
      const missing = page.missing();
      if (!missing) return page.body();
      desk.say(missing.say);
      desk.saved(missing.say);
      if (missing.at) missing.at.focus();
      return null;
    },
    place: () => ({}),
    close() {},
  });

  function render() {
    $("order").textContent = page.line();
    $("submit").setAttribute("aria-disabled", String(page.missing() !== null));
  }

  // edited is called by the page after every change.
  function edited() {
    if (!desk.task) return;
    if (page.marks) {
      const now = JSON.stringify(page.marks());
      if (now !== marks) past.record(JSON.parse(marks));
      marks = now;
    }
    desk.edited();
    render();
  }

  function timeTravel(forward) {
    const to = forward ? past.forward(page.marks()) : past.back(page.marks());
    if (!to) return;
    page.restore(to);
    marks = JSON.stringify(to);
    desk.edited();
    render();
    desk.say(forward ? t("Done again: %s", page.line()) : t("Taken back: %s", page.line()));
  }

  // ---- rating and flagging by keys: a mode for each

  let at = 0; // the answer that is rated or flagged
  const list = () => page.judged.list();
  const of = (i) => page.judged.of(i);

  function setMode(mode, i = 0) {
    keymap.mode = mode;
    app.dataset.mode = mode;
    at = i;
    const text = mode === "rating" ? t("Rating of %s: 1 to 7. Esc ends it.", of(at)) : mode === "flag" ? t("Flag %s: press a letter, or Esc.", of(at)) : "";
    $("mode").textContent = text;
    $("mode").hidden = !text;
    if (text) {
      list()[at].show();
      desk.say(text);
    }
  }

  function rate(key) {
    const judged = list()[at];
    judged.set(Number(key));
    desk.say(t("%s of 7", key));
    if (keymap.mode === "rating") setMode(at + 1 < list().length ? "rating" : "", at + 1);
  }

  function flag(letterKey) {
    list()[at].flag(letterKey);
    setMode("");
  }

  function leave() {
    if (document.activeElement !== document.body) document.activeElement.blur();
    setMode("");
  }

  function comment() {
    $("note").open = true;
    $("comment").focus();
  }

  const ask = (id) => $(id).showModal();
  const letters = () => [...$("rate").content.querySelectorAll(".flags input")].map((b) => b.dataset.letter);
  const keymap = new Keymap(desk.kept, [
    ...page.actions(rate, setMode),
    ...(page.judged ? [
      { name: "flag-letter", mode: "flag", keys: letters(), fixed: true, run: flag, does: t("While flagging: set or take back the flag of this letter") },
    ] : []),
    ...(page.field ? [{ name: "text", keys: ["e"], run: () => page.field.focus(), does: t("Go to the text") }] : []),
    { name: "leave", keys: ["Escape"], fixed: true, inText: true, run: leave, does: page.judged ? t("End rating or flagging; leave a text") : t("Leave the text, so that keys act again") },
    { name: "submit", keys: ["Enter"], onPage: true, run: () => desk.submit(), does: t("Submit") },
    { name: "submit-text", keys: ["Ctrl+Enter"], inText: true, run: () => desk.submit(), does: t("Submit, also from within a text") },
    ...(page.marks ? [
      { name: "back", keys: ["Ctrl+z"], run: () => timeTravel(false), does: t("Take back the last change") },
      { name: "forward", keys: ["Ctrl+Shift+z", "Ctrl+y"], run: () => timeTravel(true), does: t("Do it again") },
    ] : []),
    { name: "undo", keys: ["u"], run: () => desk.undo(), does: t("Change the last answer you submitted") },
    { name: "skip", keys: ["s"], run: () => ask("skip-dialog"), does: t("Skip, with a reason") },
    { name: "report", keys: ["!"], run: () => ask("report-dialog"), does: t("Report: unsafe, or personal data") },
    { name: "comment", keys: ["c"], run: comment, does: t("Write a note to the reviewers") },
    { name: "help", keys: ["?"], run: () => help.open(), does: t("Show the keys") },
  ]);
  const help = new KeysDialog(keymap, $("help"));
  addEventListener("keydown", (e) => { if (desk.task && !desk.busy) keymap.handle(e); });

  const clicks = {
    submit: () => desk.submit(), skip: () => ask("skip-dialog"), report: () => ask("report-dialog"), "help-open": () => help.open(),
    "veil-skip": () => ask("skip-dialog"), unveil: () => desk.veil([], $("sheet")),
  };
  for (const [id, f] of Object.entries(clicks)) $(id).addEventListener("click", f);

  keymap.paint();
  desk.start();
  return { edited, kept: desk.kept, say: (text) => desk.say(text) };
}

// judge fills node with the scale of 1 to 7 and the flags of one answer, and calls changed after each change. set gives
// the rating, 0 takes it away; flag sets or takes back the flag of a letter; restore puts both back; show opens what hides it.
function judge(node, name, rating, flags, changed) {
  node.replaceChildren($("rate").content.cloneNode(true));
  const own = { rating: rating || 0, flags: (flags || []).slice() };
  const inputs = [];
  const boxes = [...node.querySelectorAll(".flags input")];
  const paint = () => {
    inputs.forEach((input, i) => { input.checked = i + 1 === own.rating; });
    for (const box of boxes) box.checked = own.flags.includes(box.value);
  };
  own.set = (r) => { own.rating = r; paint(); changed(); };
  own.toggle = (f) => { own.flags = own.flags.includes(f) ? own.flags.filter((x) => x !== f) : own.flags.concat(f); paint(); changed(); };
  own.flag = (key) => own.toggle(boxes.find((box) => box.dataset.letter === key).value);
  own.marks = () => ({ rating: own.rating, flags: own.flags });
  own.restore = (m) => { Object.assign(own, m); paint(); };
  own.show = () => {
    const more = node.closest("details");
    if (more) more.open = true;
    node.scrollIntoView({ block: "nearest" });
  };
  for (let r = 1; r <= 7; r++) {
    const label = element("label", "", String(r));
    const input = element("input");
    Object.assign(input, { type: "radio", name, value: r });
    input.addEventListener("change", () => own.set(r));
    inputs.push(input);
    label.append(input);
    node.querySelector(".likert").append(label);
  }
  for (const box of boxes) box.addEventListener("change", () => own.toggle(box.value));
  paint();
  own.first = inputs[0];
  return own;
}

// digits are the keys from 1 to n.
function digits(n) { return Array.from({ length: n }, (_, i) => String(i + 1)); }
