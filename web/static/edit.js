// One answer and a text that begins as it; the text is to become better.
"use strict";

(() => {
  let shown = ""; // the answer
  let original = ""; // the same with line ends as a text field has them
  let judged = null;
  const text = $("text");
  const fields = () => ({ text: text.value, ratings: [judged.rating], flags: [judged.flags] });
  const changed = () => text.value !== original;

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
      showText($("answer"), shown);
      judged = judge($("judge"), "rating", (d.ratings || [])[0], (d.flags || [])[0], () => page.edited());
      count();
    },
    draft: fields,
    body: () => (changed() ? fields() : { ...fields(), text: shown }),
    missing() {
      if (!text.value.trim()) return { say: t("The text is empty."), at: text };
      if (!changed() && !judged.rating) return { say: t("Change the text, or rate the answer if nothing is to be improved."), at: text };
      return null;
    },
    state: () => (changed() ? t("Edited") : judged.rating ? t("Left as it is, %s of 7", judged.rating) : t("Unchanged")),
    key(e) {
      if (!/^[0-7]$/.test(e.key)) return false;
      judged.set(Number(e.key));
      return true;
    },
  });

  text.addEventListener("input", () => { count(); page.edited(); });
  $("restore").addEventListener("click", () => {
    text.value = original;
    count();
    page.edited();
    text.focus();
  });
})();
