// One answer, judged by itself.
"use strict";

(() => {
  let judged = null;
  const fields = () => ({ ratings: [judged.rating], flags: [judged.flags] });
  const page = work({
    open(task, d) {
      showText($("answer"), task.answers[0].text);
      judged = judge($("judge"), "rating", (d.ratings || [])[0], (d.flags || [])[0], () => page.edited());
    },
    draft: fields,
    body: fields,
    missing: () => (judged.rating ? null : { say: t("Give a rating of 1 to 7."), at: judged.first }),
    line: () => (judged.rating ? t("%s of 7", judged.rating) : t("Not rated yet")),
    judged: { of: () => t("the answer"), list: () => [judged] },
    marks: () => judged.marks(),
    restore: (m) => judged.restore(m),
    actions: (rate, setMode) => [
      { name: "rate", keys: digits(7), fixed: true, run: rate, does: t("Overall rating, 7 is best") },
      { name: "unrate", keys: ["0"], run: () => judged.set(0), does: t("Take the rating away") },
      { name: "flag", keys: ["f"], run: () => setMode("flag"), does: t("Flag: then the letter of a flag") },
    ],
  });
})();
