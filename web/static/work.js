// The pages of questions other than rankings. Tasks, drafts and sending are the desk's (desk.js); a question's own script
// calls work with what only it knows:
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
  const desk = new Desk({
    open(task, draft) {
      page.open(task, draft);
      for (const e of document.querySelectorAll(".answer, #text")) e.lang = task.language || "";
      render();
      return t("New task.");
    },
    values: page.draft,
    answer() {
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
    $("order").textContent = page.state();
    $("submit").setAttribute("aria-disabled", String(page.missing() !== null));
  }

  function edited() {
    if (!desk.task) return;
    desk.edited();
    render();
  }

  // ---- keys: off in text fields, menus, dialogs and while an input method composes

  addEventListener("keydown", (e) => {
    if (!desk.task || desk.busy || e.isComposing || document.querySelector("dialog[open]")) return;
    if (e.target.closest("textarea, select, input:not([type=radio]):not([type=checkbox])")) {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); desk.submit(); }
      else if (e.key === "Escape") e.target.blur();
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const control = e.target.closest("button, summary, a, input");
    if (page.key && page.key(e, control)) { /* the question's own */ }
    else if (e.key === "Enter" && !(control && control.matches("button, summary, a"))) desk.submit();
    else if (e.key === "s") $("skip-dialog").showModal();
    else if (e.key === "u") desk.undo();
    else if (e.key === "?") $("help").showModal();
    else if (e.key === "e" && page.field) page.field.focus();
    else return;
    e.preventDefault();
  });

  $("submit").addEventListener("click", () => desk.submit());
  $("skip").addEventListener("click", () => $("skip-dialog").showModal());
  $("help-open").addEventListener("click", () => $("help").showModal());

  desk.start();
  return { edited, say: (text) => desk.say(text) };
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
