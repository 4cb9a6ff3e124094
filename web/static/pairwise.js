// Two answers side by side and a scale between them: position 1 is A, much better, 5 a tie, 9 is B, much better.
"use strict";

(() => {
  let at = 0; // position on the scale, 0 = none yet
  let judged = [];
  const steps = [...document.querySelectorAll("#scale input")];

  function choose(n) {
    at = n;
    steps.forEach((s) => { s.checked = Number(s.value) === n; });
    for (const [i, card] of [...$("pair").children].entries()) card.classList.toggle("better", n > 0 && n !== 5 && (n < 5) === (i === 0));
    if (n) page.say(name(n));
    page.edited();
  }
  const name = (n) => steps[n - 1].getAttribute("aria-label");

  const fields = () => ({
    ranks: at === 0 ? [0, 0] : at < 5 ? [1, 2] : at > 5 ? [2, 1] : [1, 1], strength: at === 0 ? 0 : Math.abs(at - 5),
    ratings: judged.map((j) => j.rating), flags: judged.map((j) => j.flags),
  });

  const page = work({
    open(task, d) {
      const ranks = d.ranks || [0, 0];
      const strength = d.strength || 0;
      at = !ranks[0] || !ranks[1] ? 0 : ranks[0] < ranks[1] ? 5 - strength : ranks[0] > ranks[1] ? 5 + strength : 5;
      steps.forEach((s) => { s.checked = Number(s.value) === at; });
      judged = [];
      $("pair").replaceChildren(...task.answers.map((a, i) => {
        const card = element("article", "panel side-answer" + (at > 0 && at !== 5 && (at < 5) === (i === 0) ? " better" : ""));
        card.setAttribute("aria-label", t("Answer %s", a.key));
        card.append(element("h2", "", t("Answer %s", a.key)));
        const text = element("bdi", "answer");
        text.dir = "auto";
        showText(text, a.text);
        const more = element("details", "more");
        const box = element("div", "judge");
        more.append(element("summary", "", t("Rate or flag")), box);
        judged.push(judge(box, "rating-" + i, (d.ratings || [])[i], (d.flags || [])[i], () => page.edited()));
        more.open = judged[i].rating > 0 || judged[i].flags.length > 0;
        card.append(text, more);
        return card;
      }));
    },
    draft: fields,
    body: fields,
    missing: () => (at ? null : { say: t("Choose which answer is better."), at: steps[4] }),
    state: () => (at ? name(at) : t("Nothing chosen yet")),
    key(e, control) {
      if (/^[0-9]$/.test(e.key)) choose(Number(e.key));
      else if (e.key === "ArrowLeft" && !steps.includes(control)) choose(at ? Math.max(1, at - 1) : 4);
      else if (e.key === "ArrowRight" && !steps.includes(control)) choose(at ? Math.min(9, at + 1) : 6);
      else return false;
      return true;
    },
  });

  for (const s of steps) s.addEventListener("change", () => choose(Number(s.value)));
})();
