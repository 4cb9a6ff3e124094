// The page of health: asked for every ten seconds while the page is seen. Texts change where they stand, so that the focus and what
// is marked stay; where rows come or go the page is loaded again, unless somebody is at work in it.
"use strict";

(() => {
  if (!$("health")) return;
  const every = 10000;
  const four = (n) => Math.abs(n) >= 1000 ? Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, ",") : String(Number(n.toPrecision(4)));
  const set = (node, text) => { if (node.textContent !== text) node.textContent = text; };

  function same(selector, name, list) {
    const rows = [...document.querySelectorAll(selector)].map((r) => r.dataset[name]);
    return rows.length === list.length && list.every((x) => rows.includes(x.name));
  }

  function show(now) {
    if (!same("[data-check]", "check", now.checks) || !same("[data-figure]", "figure", now.figures) || !same("[data-queue]", "queue", now.queues || [])) {
      if (document.activeElement === document.body || document.activeElement === null) location.reload();
      return;
    }
    const verdict = $("verdict");
    set(verdict, now.verdict);
    verdict.className = { bad: "alert", warn: "alert warn" }[now.state] || "note";
    for (const c of now.checks) {
      const row = document.querySelector(`[data-check="${CSS.escape(c.name)}"]`);
      const tag = row.querySelector(".tag");
      set(tag, c.word);
      tag.className = "tag " + ({ bad: "bad", warn: "wait" }[c.state] || "good");
      set(row.cells[2], c.found);
      set(row.cells[3], c.advice);
    }
    for (const f of now.figures) {
      const box = document.querySelector(`[data-figure="${CSS.escape(f.name)}"]`);
      set(box.querySelector("span"), f.value);
      const bar = box.querySelector("progress");
      if (bar) bar.value = f.share;
    }
    for (const q of now.queues || []) {
      for (const cell of document.querySelectorAll(`[data-queue="${CSS.escape(q.name)}"] [data-of]`)) set(cell, four(q[cell.dataset.of]));
    }
  }

  async function ask() {
    if (document.hidden) return;
    try {
      const answer = await fetch("/admin/api/health", { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(answer.status);
      show(await answer.json());
      $("connection").textContent = "";
    } catch {
      $("connection").textContent = t("Connecting again…");
    }
  }
  setInterval(ask, every);
  addEventListener("visibilitychange", ask);
})();
