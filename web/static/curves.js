// Charts of a round: what the server drew is taken over by curves that grow, zoom, are smoothed and laid over those of other rounds.
"use strict";

class Curves {
  constructor(round) {
    this.round = round;
    this.runs = {}; // kind -> { curves: metric -> {x, y}, thinned, last }
    this.others = new Map(); // id of a round -> { name, runs }
    this.zoom = {}; // kind -> [from, to] in steps; absent: the whole run
    this.smoothing = 0;
    this.inks();
    this.charts = [...document.querySelectorAll("figure.chart[data-kind]")].map((f) => new Chart(this, f));
    let resizing = 0;
    addEventListener("resize", () => {
      cancelAnimationFrame(resizing);
      resizing = requestAnimationFrame(() => this.each((c) => c.resize()));
    });
    const again = () => {
      this.inks();
      this.each((c) => { c.drop(); c.draw(); });
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    for (const d of document.querySelectorAll("#others")) d.addEventListener("toggle", () => this.each((c) => c.draw()));
    this.tools();
  }

  each(f) { this.charts.forEach(f); }

  // inks are the colours of the theme.
  inks() { this.ink = Object.fromEntries(["accent", "good", "warn", "bad", "ink", "muted", "line"].map((n) => [n, ink("--" + n)])); }

  of(kind) { return this.runs[kind] ||= { curves: {}, thinned: false, last: 0 }; }

  // load takes the curves as they are now, and resolves to the id of the event from which on news come.
  async load() {
    const got = await call("GET", this.path(this.round));
    if (got.status !== 200) return "";
    for (const r of got.body.runs) Object.assign(this.of(r.kind), r);
    this.each((c) => c.draw());
    return got.body.cursor;
  }

  path(round) { return "/admin/api/rounds/" + encodeURIComponent(round) + "/curves"; }

  // add takes new points of a run.
  add(update) {
    const run = this.of(update.kind);
    for (const p of update.points) {
      if (p.step <= run.last) continue;
      run.last = p.step;
      for (const [name, v] of Object.entries(p.metrics || {})) {
        if (v === null) continue;
        const s = run.curves[name] ||= { x: [], y: [] };
        s.x.push(p.step);
        s.y.push(v);
      }
    }
    this.each((c) => { if (c.kind === update.kind) c.draw(); });
  }

  // show zooms all charts of a kind; without steps the whole run is shown.
  show(kind, from, to) {
    if (from === undefined) delete this.zoom[kind];
    else this.zoom[kind] = [from, to];
    if ($("whole")) $("whole").disabled = !Object.keys(this.zoom).length;
    this.each((c) => { if (c.kind === kind) c.draw(); });
    if (from !== undefined && this.of(kind).thinned) this.refine(kind, Math.floor(from), Math.ceil(to));
  }

  // refine asks for the points of a part of a run that were left out.
  async refine(kind, from, to) {
    const got = await call("GET", this.path(this.round) + "?" + new URLSearchParams({ kind, from, to }));
    if (got.status !== 200 || !got.body.runs.length) return;
    const run = this.of(kind);
    for (const [name, part] of Object.entries(got.body.runs[0].curves)) {
      const s = run.curves[name];
      if (!s) continue;
      const before = s.x.filter((x) => x < from).length;
      const after = s.x.findIndex((x) => x > to);
      const tail = after < 0 ? s.x.length : after;
      s.x = s.x.slice(0, before).concat(part.x, s.x.slice(tail));
      s.y = s.y.slice(0, before).concat(part.y, s.y.slice(tail));
    }
    this.each((c) => { if (c.kind === kind) c.draw(); });
  }

  tools() {
    for (const e of document.querySelectorAll("[data-script]")) e.hidden = false;
    const slider = $("smooth");
    if (!slider) return;
    const key = "rankloop smoothing";
    const set = () => {
      this.smoothing = Number(slider.value);
      $("smoothed").textContent = slider.value;
      this.each((c) => c.draw());
    };
    try { slider.value = localStorage.getItem(key) || 0; } catch { /* nothing is remembered then */ }
    slider.addEventListener("input", () => {
      try { localStorage.setItem(key, slider.value); } catch { /* likewise */ }
      set();
    });
    set();
    $("whole").addEventListener("click", () => Object.keys(this.zoom).forEach((kind) => this.show(kind)));
    for (const box of document.querySelectorAll('input[name="former"]')) box.addEventListener("change", () => this.lay(box));
  }

  // lay puts the curves of a former round over those of this one, or takes them away; three can be told apart.
  async lay(box) {
    if (!box.checked) {
      this.others.delete(box.value);
    } else {
      const got = await call("GET", this.path(box.value));
      if (got.status !== 200 || !box.checked) return;
      const runs = Object.fromEntries(got.body.runs.map((r) => [r.kind, r]));
      const used = [...this.others.values()].map((o) => o.place);
      this.others.set(box.value, { name: box.dataset.name, runs, place: [0, 1, 2].find((p) => !used.includes(p)) });
    }
    for (const b of document.querySelectorAll('input[name="former"]')) b.disabled = !b.checked && this.others.size >= 3;
    this.each((c) => { c.drop(); c.draw(); });
  }
}

// smoothed is the exponential moving average, without the pull of its start.
function smoothed(y, weight) {
  let mean = 0;
  let sure = 0;
  return y.map((v) => {
    mean = weight * mean + (1 - weight) * v;
    sure = weight * sure + (1 - weight);
    return mean / sure;
  });
}

// faint is a colour seen through.
function faint(color) { return color.replace("rgb(", "rgba(").replace(")", ", 0.28)"); }

const three = (v) => String(Number(v.toPrecision(4)));

class Chart {
  constructor(all, figure) {
    this.all = all;
    this.figure = figure;
    this.kind = figure.dataset.kind;
    this.metrics = figure.dataset.metrics.split("|");
    this.labels = figure.dataset.labels.split("|");
    this.limits = figure.dataset.limits ? figure.dataset.limits.split("|").map(Number) : [];
    this.out = figure.querySelector("output");
    this.out.setAttribute("aria-live", "off"); // while steps come; whoever moves along the curve hears it
    this.title = figure.querySelector(".title").textContent;
    this.box = figure.querySelector(".plot-box");
    figure.querySelector(".numbers").addEventListener("toggle", () => this.table());
    this.box.addEventListener("keydown", (e) => this.key(e));
    this.box.addEventListener("focus", () => this.out.setAttribute("aria-live", "polite"));
    this.box.addEventListener("blur", () => this.out.setAttribute("aria-live", "off"));
  }

  // lines are what is drawn: raw and smoothed, of this round and of those laid over it.
  lines() {
    const { accent, good, warn, bad, ink } = this.all.ink;
    const inks = [accent, good];
    const over = [warn, bad, ink];
    const dashes = [[6, 4], [2, 3], [10, 4, 2, 4]];
    const weight = this.all.smoothing;
    const out = [];
    const put = (s, label, stroke, dash) => {
      const points = { show: s.x.length < 3, size: 5 };
      if (weight > 0) out.push({ s, label: "", stroke: faint(stroke), width: 1, dash, points: { show: false } });
      out.push({ s: weight > 0 ? { x: s.x, y: smoothed(s.y, weight) } : s, label, stroke, width: 2, dash, points });
    };
    this.all.others.forEach((o) => {
      const s = o.runs[this.kind] && o.runs[this.kind].curves[this.metrics[0]];
      if (s && s.x.length) put(s, o.name, over[o.place], dashes[o.place]);
    });
    this.metrics.forEach((m, i) => {
      const s = this.all.of(this.kind).curves[m];
      if (s && s.x.length) put(s, this.labels[i] || this.title, inks[i], i ? [7, 3] : undefined);
    });
    return out;
  }

  draw() {
    const own = this.metrics.filter((m) => (this.all.of(this.kind).curves[m] || { x: [] }).x.length);
    if (!own.length) return;
    $("curves").hidden = false; // before sizes are measured
    if ($("curve-tools")) $("curve-tools").hidden = false;
    this.figure.hidden = false;
    if (!this.box.clientWidth) return; // within something that is closed
    const lines = this.lines();
    const data = uPlot.join(lines.map((l) => [l.s.x, l.s.y]));
    const shape = lines.map((l) => l.label + l.stroke + l.points.show).join();
    if (this.plot && this.shape !== shape) this.drop();
    const zoom = this.all.zoom[this.kind];
    if (!this.plot) {
      this.shape = shape;
      this.make(lines, data);
    } else {
      this.plot.setData(data, !zoom);
    }
    if (zoom) this.plot.setScale("x", { min: zoom[0], max: zoom[1] });
    const steps = this.all.of(this.kind).curves[own[0]].x;
    this.figure.dataset.points = steps.length;
    this.figure.dataset.last = steps[steps.length - 1];
    if (document.activeElement !== this.box) {
      this.out.textContent = own.map((m) => three(this.all.of(this.kind).curves[m].y.at(-1))).join(" · ");
    }
    if (this.figure.querySelector(".numbers").open) this.table();
  }

  make(lines, data) {
    this.box.replaceChildren();
    this.box.classList.add("live");
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "group");
    this.box.setAttribute("aria-label", this.title);
    if ($("curve-keys")) this.box.setAttribute("aria-describedby", "curve-keys");
    for (const k of this.figure.querySelectorAll(".key.laid")) k.remove();
    for (const o of this.all.others.values()) this.out.before(element("span", "key laid " + "cde"[o.place], o.name));
    const axis = { stroke: this.all.ink.muted, grid: { stroke: this.all.ink.line, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    this.plot = new uPlot({
      width: Math.max(this.box.clientWidth, 200), height: 170, padding: [8, 16, 0, 0],
      legend: { show: false },
      scales: { x: { time: false }, y: { range: (u, low, high) => this.range(low, high) } },
      cursor: { y: false, drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => () => { this.all.show(this.kind); } } },
      axes: [{ ...axis, size: 28 }, { ...axis, size: 52, values: (_, v) => v.map(three) }],
      series: [{}, ...lines.map(({ label, stroke, width, dash, points }) => ({ label, stroke, width, dash, points, spanGaps: true }))],
      hooks: {
        draw: [(u) => this.bounds(u)],
        setCursor: [(u) => this.tell(u)],
        setSelect: [(u) => {
          if (u.select.width < 4) return;
          const from = u.posToVal(u.select.left, "x");
          const to = u.posToVal(u.select.left + u.select.width, "x");
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          if (to - from >= 1) this.all.show(this.kind, from, to);
        }],
      },
    }, data, this.box);
  }

  // range leaves room above and below, also where all is one value.
  range(low, high) {
    if (low === null || low === undefined) return [0, 1];
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    return [low - room, high + room];
  }

  // bounds draws the limits of the alarms that lie within the picture.
  bounds(u) {
    for (const limit of this.limits) {
      if (limit < u.scales.y.min || limit > u.scales.y.max) continue;
      const y = Math.round(u.valToPos(limit, "y", true));
      u.ctx.save();
      u.ctx.strokeStyle = this.all.ink.bad;
      u.ctx.setLineDash([5, 4].map((n) => n * devicePixelRatio));
      u.ctx.lineWidth = 1.5 * devicePixelRatio;
      u.ctx.beginPath();
      u.ctx.moveTo(u.bbox.left, y);
      u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
      u.ctx.stroke();
      u.ctx.restore();
    }
  }

  tell(u) {
    const i = u.cursor.idx;
    if (i === null || i === undefined) return;
    const values = u.series.slice(1).map((s, k) => [s.label, u.data[k + 1][i]]).filter(([label, v]) => label && v !== null && v !== undefined);
    if (values.length) this.out.textContent = t("step %s: %s", u.data[0][i], values.map(([, v]) => three(v)).join(" · "));
  }

  key(e) {
    const u = this.plot;
    if (!u || e.ctrlKey || e.altKey || e.metaKey) return;
    const x = u.data[0];
    const whole = [x[0], x[x.length - 1]];
    const [from, to] = this.all.zoom[this.kind] || whole;
    const at = u.cursor.idx ?? (e.key === "ArrowLeft" ? x.length : -1);
    const move = (i) => {
      const to = Math.max(0, Math.min(x.length - 1, i));
      u.setCursor({ left: u.valToPos(x[to], "x"), top: 0 });
    };
    const zoom = (a, b) => {
      const low = Math.max(whole[0], a);
      const high = Math.min(whole[1], b);
      if (low <= whole[0] && high >= whole[1]) this.all.show(this.kind);
      else if (high - low >= 1) this.all.show(this.kind, low, high);
    };
    const middle = at >= 0 && at < x.length && x[at] >= from && x[at] <= to ? x[at] : (from + to) / 2;
    const shift = (to - from) / 4;
    const acts = {
      ArrowLeft: () => (e.shiftKey ? zoom(Math.max(whole[0], from - shift), Math.max(whole[0], from - shift) + to - from) : move(at - 1)),
      ArrowRight: () => (e.shiftKey ? zoom(Math.min(whole[1], to + shift) - (to - from), Math.min(whole[1], to + shift)) : move(at + 1)),
      Home: () => move(0), End: () => move(x.length - 1),
      "+": () => zoom(middle - (middle - from) / 2, middle + (to - middle) / 2),
      "-": () => zoom(middle - (middle - from) * 2, middle + (to - middle) * 2),
      0: () => this.all.show(this.kind), Escape: () => this.all.show(this.kind),
    };
    acts["="] = acts["+"];
    acts["−"] = acts["-"];
    const act = acts[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  }

  // table writes the numbers of what is shown, forty rows at most.
  table() {
    const zoom = this.all.zoom[this.kind] || [-Infinity, Infinity];
    const curves = this.metrics.map((m) => this.all.of(this.kind).curves[m] || { x: [], y: [] });
    const steps = [...new Set(curves.flatMap((c) => c.x))].filter((x) => x >= zoom[0] && x <= zoom[1]).sort((a, b) => a - b);
    if (!steps.length) return;
    const every = Math.ceil(steps.length / 40);
    const values = curves.map((c) => new Map(c.x.map((x, i) => [x, c.y[i]])));
    const rows = steps.filter((_, i) => i % every === 0 || i === steps.length - 1).map((x) => {
      const row = element("tr");
      row.append(element("td", "n", String(x)), ...values.map((v) => element("td", "n", v.has(x) ? three(v.get(x)) : "–")));
      return row;
    });
    this.figure.querySelector("tbody").replaceChildren(...rows);
  }

  resize() { if (this.plot && this.box.clientWidth) this.plot.setSize({ width: this.box.clientWidth, height: 170 }); }

  drop() {
    if (this.plot) this.plot.destroy();
    this.plot = null;
  }
}
