// The ranking page: what keys, drag, buttons and menus do to one ranking, its ratings and flags. Tasks, drafts and sending
// are the desk's; the cards show.
"use strict";

(() => {
  const app = $("app");
  let task = null;
  let ranking = null;
  let ratings = []; // 1..7, 0 = none
  let flags = []; // lists of flags
  let focus = 0;
  let reference = -1; // the answer that the others are compared with
  let past = new History();

  const desk = new Desk({ open, values, answer, place, close() { task = null; } });
  const cards = new Cards($("cards"), $("card"), { act, drop, focus: setFocus });

  // ---- choices of how to read, kept in this browser

  const view = { columns: 1, formatted: false, together: false, ...desk.kept.get("view") };

  function look() {
    const most = Math.max(1, Math.min(4, task ? task.answers.length : 4, Math.floor(document.documentElement.clientWidth / 420)));
    const n = Math.min(view.columns, most);
    app.classList.toggle("columns", n > 1);
    cards.columns(n, view.together);
    cards.show(view.formatted, reference);
    $("layout").hidden = most === 1;
    $("layout").firstElementChild.textContent = n === 1 ? t("One column") : t("%s columns", n);
    $("together").hidden = n === 1;
    for (const [id, on] of [["format", view.formatted], ["together", view.together], ["compare", reference >= 0]]) $(id).setAttribute("aria-pressed", String(on));
    $("compare").firstElementChild.textContent = reference >= 0 ? t("Compared with %s", letter(reference)) : t("Compare");
    return most;
  }

  function choose(change) {
    Object.assign(view, change);
    desk.kept.set("view", view);
    look();
    cards.reveal(focus, $("dock").offsetHeight);
  }

  function layout() {
    const most = look();
    choose({ columns: view.columns >= most ? 1 : view.columns + 1 });
    desk.say($("layout").firstElementChild.textContent);
  }

  function compare() {
    reference = reference === focus ? -1 : focus;
    look();
    desk.say(reference < 0 ? t("Not compared.") : t("Compared with answer %s.", letter(reference)));
  }

  // ---- the sheet of the desk

  function open(next, draft, at) {
    task = next;
    const k = task.answers.length;
    past = new History();
    ranking = new Ranking(k, draft.ranks, at && at.sequence);
    ratings = draft.ratings && draft.ratings.length === k ? draft.ratings.slice() : new Array(k).fill(0);
    flags = Array.from({ length: k }, (_, i) => (draft.flags && draft.flags[i]) || []);
    reference = -1;
    setMode("");
    const begun = (draft.ranks || []).some((r) => r > 0);
    focus = at ? at.focus : begun && draft.focus < k ? draft.focus : Math.max(ranking.ranks.indexOf(0), 0);
    veil(begun || at ? [] : task.warning || []);
    cards.build(task.answers, task.language);
    look();
    keymap.paint();
    render(false);
    if ($("veil").hidden) cards.cards[focus].focus({ preventScroll: true });
    else $("unveil").focus();
    return t("New task. %s answers.", k);
  }

  function values() { return { ranks: ranking.ranks, ratings, flags, focus }; }

  function answer() {
    if (!ranking.complete) {
      desk.say(tn("%s answer is not ranked yet.", "%s answers are not ranked yet.", ranking.left));
      moveFocus(ranking.sequence.find((i) => ranking.ranks[i] === 0));
      return null;
    }
    if (!$("veil").hidden) return null;
    return { ranks: ranking.ranks, ratings, flags };
  }

  function place() { return { focus, sequence: ranking.sequence }; }

  // veil hides answers that others reported, until they are asked for.
  function veil(kinds) {
    desk.veil(kinds, $("cards"));
  }

  // ---- acts

  const state = () => ({ ranking: ranking.state(), ratings, flags });

  function render(glide) {
    cards.render(ranking, ratings, flags, glide);
    cards.frame(focus);
    $("order").textContent = ranking.text() || t("Nothing ranked yet");
    $("submit").setAttribute("aria-disabled", String(!ranking.complete));
    const wrong = ranking.contradictions(ratings)[0];
    const warning = wrong ? t("%s ranks above %s, but is rated lower (%s and %s). You may submit it so.", letter(wrong[0]), letter(wrong[1]), ratings[wrong[0]], ratings[wrong[1]]) : "";
    if ($("conflict").textContent !== warning) $("conflict").textContent = warning;
    $("conflict").hidden = !warning;
  }

  function setFocus(i) {
    if (i === focus && cards.cards[i].classList.contains("focus")) return;
    focus = i;
    cards.frame(i);
    desk.moved();
  }

  function moveFocus(i) {
    setFocus(i);
    cards.cards[i].focus({ preventScroll: true });
    cards.reveal(i, $("dock").offsetHeight);
  }

  // act changes answer i; it is true where something changed.
  function act(i, what, value) {
    const before = state();
    let ok = true;
    if (what === "rate") {
      ok = ratings[i] !== value;
      ratings = ratings.map((r, n) => (n === i ? value : r));
    } else if (what === "flag") {
      flags = flags.map((f, n) => (n !== i ? f : f.includes(value) ? f.filter((x) => x !== value) : f.concat(value)));
    } else {
      ok = what === "rank" ? ranking.set(i, value) : ranking[what](i);
    }
    if (!ok) return false;
    past.record(before);
    changed(i, what === "rate" ? t("Answer %s rated %s.", letter(i), value) : what === "flag" ? t("Answer %s: %s flags.", letter(i), flags[i].length) : "");
    return true;
  }

  function drop(i, order, above) {
    past.record(state());
    ranking.drop(i, order, above);
    changed(i, "");
  }

  function changed(i, told) {
    render(true);
    desk.edited();
    if (told) return desk.say(told);
    const { left } = ranking;
    const where = cards.describe(ranking, i);
    desk.say(left ? tn("Answer %[2]s, %[3]s. %[1]s left.", "Answer %[2]s, %[3]s. %[1]s left.", left, letter(i), where)
      : t("Answer %s, %s. All ranked: %s. Enter submits.", letter(i), where, ranking.text()));
  }

  function timeTravel(forward) {
    const to = forward ? past.forward(state()) : past.back(state());
    if (!to) return;
    ranking.restore(to.ranking);
    ({ ratings, flags } = to);
    render(true);
    desk.edited();
    desk.say(forward ? t("Done again: %s", ranking.text() || t("Nothing ranked yet")) : t("Taken back: %s", ranking.text() || t("Nothing ranked yet")));
  }

  const order = () => [...Array(ranking.k).keys()];

  // rank gives the framed answer a rank; the frame moves on to the next answer without one, in the order of the letters.
  function rank(key) {
    if (Number(key) > ranking.k) return;
    const i = focus;
    act(i, "rank", Number(key));
    const open = order().slice(i + 1).concat(order().slice(0, i)).find((x) => ranking.ranks[x] === 0);
    moveFocus(open === undefined ? i : open);
  }

  // rate rates the framed answer; the frame moves on down the page to the next one without a rating.
  function rate(key) {
    const i = focus;
    act(i, "rate", Number(key));
    const at = ranking.sequence.indexOf(i);
    const open = ranking.sequence.slice(at + 1).concat(ranking.sequence.slice(0, at)).find((x) => ratings[x] === 0);
    moveFocus(open === undefined ? i : open);
  }

  function flag(letterKey) {
    const box = cards.cards[focus].querySelector('.flags input[data-letter="' + letterKey + '"]');
    act(focus, "flag", box.value);
    setMode("");
  }

  function setMode(mode) {
    keymap.mode = mode;
    app.dataset.mode = mode;
    const text = mode === "rating" ? t("Rating: 1 to 7. Esc ends it.") : mode === "flag" ? t("Flag: press its letter, or Esc.") : "";
    $("mode").textContent = text;
    $("mode").hidden = !text;
    if (text) desk.say(text);
    if (mode === "flag") {
      cards.cards[focus].querySelector(".more").open = true;
      cards.reveal(focus, $("dock").offsetHeight);
    }
  }

  function move(what) { if (act(focus, what)) moveFocus(focus); }
  function step(by) { moveFocus(ranking.sequence[Math.min(Math.max(ranking.sequence.indexOf(focus) + by, 0), ranking.k - 1)]); }

  function comment() {
    $("note").open = true;
    $("comment").focus();
  }

  function leave() {
    if (writes(document.activeElement)) cards.cards[focus].focus({ preventScroll: true });
    setMode("");
  }

  function ask(id) { $(id).showModal(); }

  // ---- keys

  const digits = (n) => Array.from({ length: n }, (_, i) => String(i + 1));
  const letters = [...$("card").content.querySelectorAll(".flags input")].map((b) => b.dataset.letter);
  const keymap = new Keymap(desk.kept, [
    { name: "rank", keys: digits(9), fixed: true, run: rank, does: t("Rank the answer in the frame; the frame moves on. The same digit twice is a tie.") },
    { name: "unrank", keys: ["0"], run: () => { if (act(focus, "rank", 0)) moveFocus(focus); }, does: t("Take the rank away") },
    { name: "next", keys: ["j", "ArrowDown"], onPage: true, run: () => step(1), does: t("Frame down") },
    { name: "previous", keys: ["k", "ArrowUp"], onPage: true, run: () => step(-1), does: t("Frame up") },
    { name: "down", keys: ["Shift+j", "Shift+ArrowDown"], run: () => move("down"), does: t("Move the answer down") },
    { name: "up", keys: ["Shift+k", "Shift+ArrowUp"], run: () => move("up"), does: t("Move the answer up") },
    { name: "tie", keys: ["="], run: () => move("tie"), does: t("Tie with the answer above, or end the tie") },
    { name: "rating", keys: ["r"], run: () => setMode(keymap.mode === "rating" ? "" : "rating"), does: t("Rate: then a digit from 1 to 7 for each answer") },
    { name: "rate", mode: "rating", keys: digits(7), fixed: true, run: rate, does: t("While rating: rate the answer; the frame moves on") },
    { name: "flag", keys: ["f"], run: () => setMode("flag"), does: t("Flag: then the letter of a flag") },
    { name: "flag-letter", mode: "flag", keys: letters, fixed: true, run: flag, does: t("While flagging: set or take back the flag of this letter") },
    { name: "leave", keys: ["Escape"], fixed: true, inText: true, run: leave, does: t("End rating or flagging; leave a text") },
    { name: "submit", keys: ["Enter"], onPage: true, run: () => desk.submit(), does: t("Submit") },
    { name: "submit-text", keys: ["Ctrl+Enter"], inText: true, run: () => desk.submit(), does: t("Submit, also from within a text") },
    { name: "back", keys: ["Ctrl+z"], run: () => timeTravel(false), does: t("Take back the last change") },
    { name: "forward", keys: ["Ctrl+Shift+z", "Ctrl+y"], run: () => timeTravel(true), does: t("Do it again") },
    { name: "undo", keys: ["u"], run: () => desk.undo(), does: t("Change the last ranking you submitted") },
    { name: "skip", keys: ["s"], run: () => ask("skip-dialog"), does: t("Skip, with a reason") },
    { name: "report", keys: ["!"], run: () => ask("report-dialog"), does: t("Report: unsafe, or personal data") },
    { name: "comment", keys: ["c"], run: comment, does: t("Write a note to the reviewers") },
    { name: "diff", keys: ["d"], run: compare, does: t("Compare the other answers with the one in the frame") },
    { name: "layout", keys: ["v"], run: layout, does: t("One column, or two to four") },
    { name: "together", keys: ["y"], run: () => choose({ together: !view.together }), does: t("Side by side: scroll all answers together") },
    { name: "format", keys: ["m"], run: () => choose({ formatted: !view.formatted }), does: t("Formatted, or the text as it was written") },
    { name: "help", keys: ["?"], run: () => help.open(), does: t("Show the keys") },
  ]);
  const help = new KeysDialog(keymap, $("help"));
  keymap.paint();
  addEventListener("keydown", (e) => {
    if (task && desk.task === task && !desk.busy) keymap.handle(e);
  });

  // ---- buttons

  const clicks = {
    submit: () => desk.submit(), skip: () => ask("skip-dialog"),
    report: () => ask("report-dialog"), "veil-skip": () => ask("skip-dialog"), "help-open": () => help.open(), layout, compare,
    format: () => choose({ formatted: !view.formatted }), together: () => choose({ together: !view.together }),
    unveil: () => { veil([]); moveFocus(focus); },
  };
  for (const [id, f] of Object.entries(clicks)) $(id).addEventListener("click", f);
  let resized = 0;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => { if (task) look(); }, 100); });

  desk.start();
})();
