// The page of a round: stage, progress and curves as they come (server-sent events; a reader that reconnects misses nothing).
"use strict";

(async () => {
  const root = $("round");
  if (!root) return;
  const live = root.dataset.live === "yes";
  let leaving = false; // a form is on its way, and its answer says more than a reload would
  addEventListener("submit", () => { leaving = true; });
  const reload = () => { if (!leaving) location.reload(); };
  const curves = new Curves(root.dataset.round);
  const cursor = await curves.load();
  if (!live) return;

  let shownStage = root.dataset.stage;
  const source = new EventSource("/admin/api/rounds/" + encodeURIComponent(root.dataset.round) + "/events?after=" + encodeURIComponent(cursor));
  source.addEventListener("round", (e) => {
    const r = JSON.parse(e.data);
    $("stage").textContent = r.label;
    const p = $("progress");
    p.max = Math.max(r.progress.total, 1);
    p.value = Math.min(r.progress.done, p.max);
    $("count").textContent = r.counted;
    if ($("left")) $("left").textContent = r.left;
    if ($("paused") && $("paused").hidden === r.paused) reload(); // somebody or an alarm paused it, or it was set to work: other buttons
    document.title = document.title.replace(/^(.* – )?/, r.ended ? "" : r.label + " – ");
    if (r.stage !== shownStage) { // tables and buttons belong to the stage
      shownStage = r.stage;
      source.close();
      reload();
    }
  });
  source.addEventListener("points", (e) => curves.add(JSON.parse(e.data)));
  source.addEventListener("end", () => source.close());
  source.onerror = () => { $("connection").hidden = false; };
  source.onopen = () => { $("connection").hidden = true; };
})();
