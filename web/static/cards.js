// The answers of a ranking task on the page: a card each, in the order of the ranking. The cards show; what a person does
// goes to the handlers that the page gave:
//   act(i, what, value)  rank, up, down or tie answer i; rate or flag it
//   drop(i, order, above) answer i was dragged: the order on the page, and how many of it are above the line
//   focus(i)             answer i has the frame
"use strict";

class Cards {
  constructor(list, template, handlers) {
    Object.assign(this, { list, template, handlers });
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.cards = []; // in the order shown: A, B, ...
    this.answers = [];
    this.texts = new Map(); // what each card's text shows now, so that it is built once
    this.aim = null; // where a scroll under way will end
    this.together = false;
    addEventListener("scrollend", () => { this.aim = null; });
  }

  get k() { return this.cards.length; }

  // build makes the cards of a task; language is that of the answers, "" where it is not known.
  build(answers, language) {
    this.language = language;
    if (this.sortable) this.sortable.destroy();
    this.answers = answers;
    this.texts.clear();
    this.cards = answers.map((a, i) => this.card(a, i));
    this.divider = element("li", "divider row");
    this.divider.append(element("span"));
    this.list.replaceChildren(this.divider, ...this.cards);
    this.sortable = new Sortable(this.list, {
      draggable: ".row", handle: ".handle", forceFallback: true, fallbackTolerance: 3, ghostClass: "ghost",
      animation: this.calm.matches ? 0 : 140, scrollSensitivity: 80,
      onStart: (e) => this.handlers.focus(this.cards.indexOf(e.item)),
      onEnd: (e) => {
        const rows = [...this.list.children];
        const order = rows.filter((x) => x !== this.divider).map((x) => this.cards.indexOf(x));
        this.handlers.drop(this.cards.indexOf(e.item), order, rows.indexOf(this.divider));
      },
    });
  }

  card(answer, i) {
    const li = this.template.content.firstElementChild.cloneNode(true);
    const q = (s) => li.querySelector(s);
    const key = answer.key;
    li.dataset.key = key;
    q(".name").append(element("span", "word", t("Answer")), " " + key);
    const select = q("select");
    select.id = "rank-" + i;
    q("label.sr").htmlFor = select.id;
    q("label.sr").textContent = t("Rank of answer %s", key);
    for (let r = 0; r <= this.answers.length; r++) select.add(new Option(r ? t("Rank %s", r) : t("Not ranked"), r));
    select.addEventListener("change", () => this.handlers.act(i, "rank", Number(select.value)));
    const names = { up: t("Move answer %s up", key), down: t("Move answer %s down", key), tie: t("Tie answer %s with the one above", key) };
    for (const what of ["up", "down", "tie"]) {
      const b = q("." + what);
      b.setAttribute("aria-label", names[what]);
      b.addEventListener("click", () => { this.handlers.focus(i); this.handlers.act(i, what); b.focus(); });
    }
    q(".likert legend").append(element("span", "sr", " " + t("of answer %s, 1 worst to 7 best", key)));
    for (let r = 1; r <= 7; r++) {
      const l = element("label", "", String(r));
      const input = element("input");
      Object.assign(input, { type: "radio", name: "rating-" + i, value: r });
      input.addEventListener("change", () => this.handlers.act(i, "rate", r));
      l.append(input);
      q(".likert").append(l);
    }
    for (const box of li.querySelectorAll(".flags input")) box.addEventListener("change", () => this.handlers.act(i, "flag", box.value));
    q(".answer").addEventListener("scroll", () => this.scrolled(i), { passive: true });
    li.addEventListener("mousedown", () => this.handlers.focus(i));
    li.addEventListener("focusin", () => this.handlers.focus(i));
    return li;
  }

  // frame marks the card that keys act on.
  frame(i) {
    this.cards.forEach((c, n) => {
      c.classList.toggle("focus", n === i);
      c.tabIndex = n === i ? 0 : -1;
    });
  }

  // render brings the cards in line with the ranking; where glide, they move to their new places.
  render(ranking, ratings, flags, glide) {
    const { list, cards } = this;
    const active = document.activeElement;
    glide = glide && !this.calm.matches;
    const was = glide ? new Map(cards.map((c) => [c, c.getBoundingClientRect()])) : null;
    const above = this.k - ranking.left;
    const rows = ranking.sequence.map((i) => cards[i]);
    rows.splice(above, 0, this.divider);
    rows.forEach((row, n) => { if (list.children[n] !== row) list.insertBefore(row, list.children[n] || null); });
    this.divider.hidden = ranking.complete;
    this.divider.firstChild.textContent = above === 0 ? t("Drag the best answer above this line, or press its rank") : t("Not ranked yet");
    const shown = ranking.shown();
    const wrong = new Set(ranking.contradictions(ratings).flat());
    ranking.sequence.forEach((i, n) => {
      const c = cards[i];
      const r = shown[i];
      const tied = ranking.tied(i);
      c.classList.toggle("ranked", r > 0);
      c.classList.toggle("tied", tied);
      c.classList.toggle("wrong", wrong.has(i));
      c.querySelector(".badge").textContent = r || "–";
      c.querySelector("select").value = r;
      c.querySelector(".tie").setAttribute("aria-pressed", String(tied));
      c.querySelector(".tie").disabled = ranking.above(i) < 0;
      c.querySelector(".up").disabled = r > 0 && n === 0;
      c.querySelector(".down").disabled = r === 0 || (n === this.k - 1 && !tied);
      for (const input of c.querySelectorAll(".likert input")) input.checked = Number(input.value) === ratings[i];
      for (const box of c.querySelectorAll(".flags input")) box.checked = flags[i].includes(box.value);
      c.querySelector(".flagged").textContent = flags[i].length || "";
      c.setAttribute("aria-label", t("Answer %s, %s of %s, %s", this.answers[i].key, n + 1, this.k, this.describe(ranking, i)));
    });
    if (active && list.contains(active) && document.activeElement !== active) active.focus({ preventScroll: true });
    if (!glide) return;
    for (const c of cards) {
      const now = c.getBoundingClientRect(), then = was.get(c);
      const x = then.left - now.left, y = then.top - now.top;
      if (x || y) c.animate([{ transform: "translate(" + x + "px, " + y + "px)" }, { transform: "none" }], { duration: 160, easing: "ease-out" });
    }
  }

  // describe says where answer i stands.
  describe(ranking, i) {
    const r = ranking.shown()[i];
    if (!r) return t("unranked");
    const others = ranking.groups().find((g) => g.includes(i)).filter((x) => x !== i);
    return others.length ? t("rank %s, tied with %s", r, others.map(letter).join(", ")) : t("rank %s", r);
  }

  // show writes the answers' texts: plain or formatted, or what differs from the answer reference (-1: none).
  show(formatted, reference) {
    this.cards.forEach((c, i) => {
      const mode = reference >= 0 && i !== reference ? "diff " + reference : formatted ? "formatted" : "plain";
      c.querySelector(".reference").hidden = i !== reference;
      if (this.texts.get(i) === mode) return;
      this.texts.set(i, mode);
      const box = c.querySelector(".answer");
      const text = this.answers[i].text;
      box.lang = this.language || languageOf(text);
      box.classList.toggle("rich", mode === "formatted");
      box.replaceChildren();
      if (mode === "formatted") markdown(box, text);
      else if (mode === "plain") showText(box, text);
      else {
        for (const [kind, part] of diff(this.answers[reference].text, text)) {
          const node = kind ? element(kind < 0 ? "del" : "ins") : box;
          appendText(node, part);
          if (kind) box.append(node);
        }
      }
      if (!text) box.append(element("span", "quiet", t("(empty answer)")));
    });
  }

  // columns lays the cards out side by side; together: each text scrolls in its card, all of them at once.
  columns(n, together) {
    this.together = together && n > 1;
    this.list.dataset.columns = n;
    this.list.classList.toggle("together", this.together);
    this.cards.forEach((c, i) => {
      const box = c.querySelector(".answer");
      if (this.together) {
        Object.assign(box, { tabIndex: 0, role: "group", ariaLabel: t("Text of answer %s", this.answers[i].key) });
      } else {
        for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
      }
    });
  }

  scrolled(i) {
    if (!this.together || this.leading !== undefined && this.leading !== i) return;
    this.leading = i;
    const from = this.cards[i].querySelector(".answer");
    const share = from.scrollTop / Math.max(1, from.scrollHeight - from.clientHeight);
    for (const c of this.cards) {
      const box = c.querySelector(".answer");
      if (box !== from) box.scrollTop = share * (box.scrollHeight - box.clientHeight);
    }
    clearTimeout(this.led);
    this.led = setTimeout(() => { this.leading = undefined; }, 120);
  }

  // reveal scrolls a card into the room between the window's top and the dock. It goes by layout: while cards glide, what
  // can be measured on the screen is where they come from.
  reveal(i, bottom) {
    const c = this.cards[i];
    let top = 0;
    for (let e = c; e; e = e.offsetParent) top += e.offsetTop;
    const room = innerHeight - bottom - 24;
    const from = this.aim === null ? scrollY : this.aim;
    let to = from;
    if (top + c.offsetHeight > from + room) to = top + c.offsetHeight - room;
    if (top - 24 < to) to = top - 24; // a card that is too tall shows its beginning
    to = Math.round(Math.max(0, Math.min(to, document.documentElement.scrollHeight - innerHeight)));
    if (to === from) return;
    this.aim = to === Math.round(scrollY) ? null : to;
    scrollTo({ top: to, behavior: this.calm.matches ? "auto" : "smooth" });
  }
}
