// The ideal answer, written by the labeler.
"use strict";

(() => {
  const text = $("text");
  const count = () => { $("count").textContent = t("%s characters", [...text.value].length); };
  const fields = () => ({ text: text.value });
  const page = work({
    field: text,
    open(task, d) {
      text.value = d.text || "";
      count();
      if (matchMedia("(min-width: 40rem)").matches) text.focus({ preventScroll: true }); // on a phone the keyboard would hide the task
    },
    draft: fields,
    body: fields,
    missing: () => (text.value.trim() ? null : { say: t("Write an answer first."), at: text }),
    line: () => (text.value.trim() ? t("Written") : t("Nothing written yet")),
    actions: () => [],
  });
  text.addEventListener("input", () => { count(); page.edited(); });
})();
