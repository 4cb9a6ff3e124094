// Two answers side by side and a scale between them: position 1 is A, much better, 5 a tie, 9 is B, much better.
"use strict";

(() => {
  let at = 0; // position on the scale, 0 = none yet
  let judged = [];
  let keys = []; // what the answers are called
  const steps = [...document.querySelectorAll("#scale input")];
  const name = (n) => steps[n - 1].getAttribute("aria-label");

  function paint() {
    steps.forEach((s) => { s.checked = Number(s.value) === at; });
    for (const [i, card] of [...$("pair").children].entries()) card.classList.toggle("better", at > 0 && at !== 5 && (at < 5) === (i === 0));
  }

  function choose(n) {
    at = n;
    paint();
    if (n) page.say(name(n));
    page.edited();
  }

  // step goes along the scale; without a choice the first step leaves the middle.
  function step(by) { choose(at ? Math.min(9, Math.max(1, at + by)) : 5 + by); }

  const fields = () => ({
    ranks: at === 0 ? [0, 0] : at < 5 ? [1, 2] : at > 5 ? [2, 1] : [1, 1], strength: at === 0 ? 0 : Math.abs(at - 5),
    ratings: judged.map((j) => j.rating), flags: judged.map((j) => j.flags),
  });

  function card(a, i, d) {
    const box = element("article", "panel side-answer");
    box.setAttribute("aria-label", t("Answer %s", a.key));
    box.append(element("h2", "", t("Answer %s", a.key)));
    const text = element("bdi", "answer");
    text.dir = "auto";
    showText(text, a.text);
    const more = element("details", "more");
    const marks = element("div", "judge");
    more.append(element("summary", "", t("Rate or flag")), marks);
    judged.push(judge(marks, "rating-" + i, (d.ratings || [])[i], (d.flags || [])[i], () => page.edited()));
    more.open = judged[i].rating > 0 || judged[i].flags.length > 0;
    box.append(text, more);
    return box;
  }

  const page = work({
    open(task, d) {
      const ranks = d.ranks || [0, 0];
      const strength = d.strength || 0;
      at = !ranks[0] || !ranks[1] ? 0 : ranks[0] < ranks[1] ? 5 - strength : ranks[0] > ranks[1] ? 5 + strength : 5;
      judged = [];
      keys = task.answers.map((a) => a.key);
      $("pair").replaceChildren(...task.answers.map((a, i) => card(a, i, d)));
      paint();
    },
    draft: fields,
    body: fields,
    missing: () => (at ? null : { say: t("Choose which answer is better."), at: steps[4] }),
    line: () => (at ? name(at) : t("Nothing chosen yet")),
    judged: { of: (i) => t("Answer %s", keys[i]), list: () => judged },
    marks: () => ({ at, judged: judged.map((j) => j.marks()) }),
    restore(m) {
      at = m.at;
      m.judged.forEach((x, i) => judged[i].restore(x));
      paint();
    },
    actions: (rate, setMode) => [
      { name: "choose", keys: digits(9), fixed: true, run: (key) => choose(Number(key)), does: t("1 to 4: A is better, much to hardly; 5: a tie; 6 to 9: B is better, hardly to much") },
      { name: "left", keys: ["ArrowLeft", "h"], onPage: true, run: () => step(-1), does: t("One step towards A") },
      { name: "right", keys: ["ArrowRight", "l"], onPage: true, run: () => step(1), does: t("One step towards B") },
      { name: "unchoose", keys: ["0"], run: () => choose(0), does: t("Take the choice away") },
      { name: "rating", keys: ["r"], run: () => setMode("rating"), does: t("Rate: then a digit from 1 to 7 for each answer") },
      { name: "rate", mode: "rating", keys: digits(7), fixed: true, run: rate, does: t("While rating: rate A, then B") },
      { name: "flag", keys: ["f"], run: () => setMode("flag", 0), does: t("Flag A: then the letter of a flag") },
      { name: "flag-b", keys: ["g"], run: () => setMode("flag", 1), does: t("Flag B: then the letter of a flag") },
    ],
  });

  for (const s of steps) s.addEventListener("change", () => choose(Number(s.value)));
})();
