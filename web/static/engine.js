// The page of the engine: what it does now, asked for every two seconds while the page is seen, and curves of it.
"use strict";

(() => {
  const root = $("engine");
  if (!root) return;
  const every = 2000;
  const most = 150; // points of a curve: five minutes
  const grouped = (n) => Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, ",");
  const four = (n) => Math.abs(n) >= 1000 ? grouped(n) : String(Number(n.toPrecision(4)));
  const mb = (bytes) => four(bytes / (1 << 20));
  let last = null;

  const curves = [
    { title: t("Tokens written a second"), y: [], of: (now, was) => (now.completion_tokens - was.completion_tokens) / (now.at - was.at) },
    { title: t("Being written and waiting"), y: [], of: (now) => now.running + now.waiting },
  ];
  const x = [];

  function draw(c) {
    if (!c.plot) {
      const figure = element("figure", "chart");
      const caption = element("figcaption", "", c.title);
      c.out = element("output");
      caption.append(c.out);
      const box = element("div", "plot");
      figure.append(caption, box);
      $("charts").append(figure);
      const axis = { stroke: ink("--muted"), grid: { stroke: ink("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
      c.plot = new uPlot({
        width: Math.max(box.clientWidth, 200), height: 170, padding: [8, 16, 0, 0], legend: { show: false }, cursor: { y: false },
        scales: { x: { time: false }, y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
        axes: [{ ...axis, size: 28, values: (_, v) => v.map((s) => t("%s s", s)) }, { ...axis, size: 52 }],
        series: [{}, { label: c.title, stroke: ink("--accent"), width: 2, points: { show: false } }],
      }, [x, c.y], box);
      new ResizeObserver(() => c.plot.setSize({ width: Math.max(box.clientWidth, 200), height: 170 })).observe(box);
    }
    c.plot.setData([x, c.y]);
    c.out.textContent = four(c.y[c.y.length - 1]);
  }

  function show(now) {
    const share = 100 * now.cached_tokens / Math.max(now.prompt_tokens, 1);
    const stats = {
      running: now.running, waiting: now.waiting, kv: mb(now.kv_used_bytes), kept: mb(now.kv_kept_bytes), requests: grouped(now.requests), refused: grouped(now.refused),
      cancelled: grouped(now.cancelled), prompt: grouped(now.prompt_tokens), cached: grouped(now.cached_tokens), share: share.toFixed(1) + "%",
      completion: grouped(now.completion_tokens), speed: four(now.completion_tokens / Math.max(now.busy_seconds, 1e-9)),
    };
    for (const node of document.querySelectorAll("[data-stat]")) {
      const text = String(stats[node.dataset.stat]);
      if (node.textContent !== text) node.textContent = text;
    }
    $("memory").value = now.kv_used_bytes;
    if (last && now.at > last.at) {
      if (!x.length) x.start = last.at;
      x.push(Math.round(now.at - x.start));
      for (const c of curves) c.y.push(c.of(now, last));
      if (x.length > most) for (const list of [x, ...curves.map((c) => c.y)]) list.shift();
      curves.forEach(draw);
    }
    last = now;
  }

  async function ask() {
    if (document.hidden) return;
    try {
      const answer = await fetch("/admin/api/engine", { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(answer.status);
      const now = await answer.json();
      if (now.model_version !== root.dataset.version) { location.reload(); return; } // another policy has taken over
      show(now);
      $("connection").textContent = "";
    } catch {
      $("connection").textContent = t("Connecting again…");
    }
  }
  ask();
  setInterval(ask, every);
})();
