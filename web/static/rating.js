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
    missing: () => (judged && judged.rating ? null : { say: t("Give a rating of 1 to 7."), at: judged && judged.first }),
    state: () => (judged && judged.rating ? t("%s of 7", judged.rating) : t("Not rated yet")),
    key(e) {
      if (/^[0-7]$/.test(e.key)) {
        judged.set(Number(e.key));
        page.say(judged.rating ? t("%s of 7", judged.rating) : t("Not rated yet"));
      } else if (e.key === "f") judged.firstFlag.focus();
      else return false;
      return true;
    },
  });
})();
