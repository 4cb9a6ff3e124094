// One answer and a text that begins as it; the text is to become better. Beside it stands the answer, and in it what the
// text changes: by words, by characters where a script has no spaces.
"use strict";

(() => {
  let shown = ""; // the answer
  let original = ""; // the same with line ends as a text field has them
  let judged = null;
  let comparing = true;
  let waiting = 0; // for a pause in typing
  const text = $("text");
  const fields = () => ({ text: text.value, ratings: [judged.rating], flags: [judged.flags] });
  const changed = () => text.value !== original;
  const letters = (pieces, kind) => pieces.filter((p) => p[0] === kind).reduce((n, p) => n + [...p[1]].length, 0);

  // compare shows the answer with what the text takes away and adds.
  function compare() {
    waiting = 0;
    $("compare").setAttribute("aria-pressed", String(comparing));
    $("changed").textContent = "";
    if (!changed()) return showText($("answer"), shown);
    const pieces = diff(original, text.value);
    $("changed").textContent = t("%s characters added, %s taken away", letters(pieces, 1), letters(pieces, -1));
    if (!comparing) return showText($("answer"), shown);
    $("answer").replaceChildren();
    for (const [kind, words] of pieces) {
      const into = kind === 0 ? $("answer") : element(kind > 0 ? "ins" : "del");
      appendText(into, words);
      if (kind !== 0) $("answer").append(into);
    }
  }

  function count() {
    $("count").textContent = t("%s characters", [...text.value].length);
    $("restore").hidden = !changed();
  }

  const page = work({
    field: text,
    open(task, d) {
      shown = task.answers[0].text;
      original = shown.replace(/\r\n?/g, "\n");
      text.value = d.text !== undefined ? d.text : original;
      judged = judge($("judge"), "rating", (d.ratings || [])[0], (d.flags || [])[0], () => page.edited());
      count();
      clearTimeout(waiting);
      compare();
    },
    draft: fields,
    body: () => (changed() ? fields() : { ...fields(), text: shown }),
    missing() {
      if (!text.value.trim()) return { say: t("The text is empty."), at: text };
      if (!changed() && !judged.rating) return { say: t("Change the text, or rate the answer if nothing is to be improved."), at: text };
      return null;
    },
    line: () => (changed() ? t("Edited") : judged.rating ? t("Left as it is, %s of 7", judged.rating) : t("Unchanged")),
    judged: { of: () => t("the answer as it was"), list: () => [judged] },
    marks: () => judged.marks(),
    restore: (m) => judged.restore(m),
    actions: (rate, setMode) => [
      { name: "rate", keys: digits(7), fixed: true, run: rate, does: t("Rating of the answer as it was, 7 is best") },
      { name: "unrate", keys: ["0"], run: () => judged.set(0), does: t("Take the rating away") },
      { name: "flag", keys: ["f"], run: () => setMode("flag"), does: t("Flag: then the letter of a flag") },
      { name: "diff", keys: ["d"], run: toggle, does: t("Show in the answer what you changed, or not") },
    ],
  });
  comparing = page.kept.get("changes") !== false;

  function toggle() {
    comparing = !comparing;
    page.kept.set("changes", comparing ? null : false);
    compare();
  }

  // typed compares at once; where the texts are so long that it would be felt, in a pause.
  function typed() {
    count();
    page.edited();
    clearTimeout(waiting);
    waiting = setTimeout(compare, original.length + text.value.length < 4000 ? 0 : 250);
  }

  text.addEventListener("input", typed);
  $("compare").addEventListener("click", toggle);
  $("restore").addEventListener("click", () => {
    text.value = original;
    typed();
    text.focus();
  });
})();
