// The page of a comparison: progress by itself, and the page anew when the stage changes.
"use strict";

(() => {
  const root = $("comparison");
  if (!root || (root.dataset.stage !== "sample" && root.dataset.stage !== "judge")) return;

  async function look() {
    try {
      const res = await fetch("/admin/api/compare/" + root.dataset.comparison, { headers: { Accept: "application/json" } });
      if (!res.ok) return;
      const now = await res.json();
      if (now.stage !== root.dataset.stage || String(now.judged) !== root.dataset.judged) {
        if (!document.querySelector("details.confirm[open]")) location.reload();
        return;
      }
      $("count").textContent = now.counted;
      $("progress").max = Math.max(1, now.total);
      $("progress").value = now.done;
    } catch {
      // the server is away for a moment; the next look tells
    }
  }

  setInterval(look, 1500);
})();
