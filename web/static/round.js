// The page of a round: stage, progress and curves as they come (server-sent events; a reader that reconnects misses nothing).
"use strict";

(() => {
  const root = $("round");
  if (!root) return;
  const live = root.dataset.live === "yes";

  // Which metrics of a run are drawn, and as what.
  const charts = {
    "reward.train": [
      [t("Reward loss"), ["loss", "heldout_loss"]],
      [t("Reward accuracy"), ["accuracy", "heldout_accuracy"]],
    ],
    "ppo.train": [
      [t("Reward score"), ["score"]],
      [t("KL from SFT, nats per answer"), ["kl"]],
      [t("Entropy, nats per token"), ["entropy"]],
      [t("Value loss"), ["value_loss"]],
      [t("Answers ending by themselves"), ["eos_rate"]],
      [t("Clipped share of ratios"), ["clipfrac"]],
    ],
  };
  const series = {}; // kind -> metric -> {x, y}
  const drawn = new Map(); // title -> {plot, figure}

  function add(update) {
    const of = series[update.kind] ||= {};
    for (const p of update.points) {
      for (const [name, v] of Object.entries(p.metrics || {})) {
        if (v === null) continue;
        const s = of[name] ||= { x: [], y: [] };
        if (s.x.length && p.step <= s.x[s.x.length - 1]) continue;
        s.x.push(p.step);
        s.y.push(v);
      }
    }
    draw(update.kind);
  }

  function draw(kind) {
    for (const [title, names] of charts[kind] || []) {
      const have = names.filter((n) => (series[kind] || {})[n] && series[kind][n].x.length);
      if (!have.length) continue;
      $("curves").hidden = false; // before sizes are measured
      const x = [...new Set(have.flatMap((n) => series[kind][n].x))].sort((a, b) => a - b);
      const data = [x, ...have.map((n) => {
        const at = new Map(series[kind][n].x.map((s, i) => [s, series[kind][n].y[i]]));
        return x.map((s) => (at.has(s) ? at.get(s) : null));
      })];
      let d = drawn.get(title);
      if (d && d.names.join() !== have.join()) { d.plot.destroy(); d.figure.remove(); d = null; }
      if (!d) drawn.set(title, d = chart(title, have, data));
      else d.plot.setData(data);
      d.out.textContent = have.map((n) => {
        const y = series[kind][n].y;
        return Number(y[y.length - 1].toPrecision(3));
      }).join(" · ");
    }
  }

  function chart(title, names, data) {
    const figure = element("figure", "chart");
    const caption = element("figcaption", "", title);
    const out = element("output");
    const box = element("div", "plot");
    if (names.length > 1) names.forEach((n, i) => caption.append(element("span", "key " + "ab"[i], n.startsWith("heldout") ? t("held out") : t("training"))));
    caption.append(out);
    figure.append(caption, box);
    $("charts").append(figure);
    const colors = [ink("--accent"), ink("--good")];
    const axis = { stroke: ink("--muted"), grid: { stroke: ink("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const plot = new uPlot({
      width: Math.max(box.clientWidth, 200), height: 170, padding: [8, 16, 0, 0],
      legend: { show: false },
      scales: { x: { time: false } },
      cursor: { y: false },
      axes: [{ ...axis, size: 28 }, { ...axis, size: 52, values: (_, v) => v.map((n) => String(Number(n.toPrecision(3)))) }],
      series: [{}, ...names.map((n, i) => ({ label: n, stroke: colors[i], width: 2, spanGaps: true, points: { show: data[0].length < 3 || i > 0, size: 5 } }))],
      hooks: { setCursor: [(u) => {
        const i = u.cursor.idx;
        if (i === null || i === undefined) return;
        const values = names.map((n, k) => u.data[k + 1][i]).filter((v) => v !== null && v !== undefined).map((v) => Number(v.toPrecision(3))).join(" · ");
        out.textContent = t("step %s: %s", u.data[0][i], values);
      }] },
    }, data, box);
    return { plot, figure, box, out, names };
  }

  let resizing = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => { for (const d of drawn.values()) d.plot.setSize({ width: d.box.clientWidth, height: 170 }); });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const d of drawn.values()) { d.plot.destroy(); d.figure.remove(); }
    drawn.clear();
    Object.keys(series).forEach(draw);
  });

  let shownStage = root.dataset.stage;
  const source = new EventSource("/admin/api/rounds/" + root.dataset.round + "/events");
  source.addEventListener("round", (e) => {
    const r = JSON.parse(e.data);
    if (!live) return;
    $("stage").textContent = r.label;
    const p = $("progress");
    p.max = Math.max(r.progress.total, 1);
    p.value = Math.min(r.progress.done, p.max);
    $("count").textContent = r.counted;
    if ($("paused") && $("paused").hidden === r.paused) location.reload(); // somebody paused it, or set it to work: other buttons
    document.title = document.title.replace(/^(.* – )?/, r.ended ? "" : r.label + " – ");
    if (r.stage !== shownStage) { // tables and buttons belong to the stage
      shownStage = r.stage;
      source.close();
      location.reload();
    }
  });
  source.addEventListener("points", (e) => add(JSON.parse(e.data)));
  source.addEventListener("end", () => source.close());
  source.onerror = () => { if (live) $("connection").hidden = false; };
  source.onopen = () => { if (live) $("connection").hidden = true; };
})();
