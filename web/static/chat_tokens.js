// The tokens of an answer: each coloured and underlined by how likely the model held it, its likeliest alternatives under the
// pointer or, by the arrow keys, under the focus.
"use strict";

// likelihoods are the classes of a token by its probability, from the least.
const likelihoods = [[0.01, "p4"], [0.1, "p3"], [0.5, "p2"], [0.9, "p1"], [2, "p0"]];

function share(logprob) {
  const p = Math.exp(logprob);
  return p < 0.001 ? "< 0.1%" : (100 * p).toFixed(p < 0.1 ? 1 : 0) + "%";
}

// written shows a token that would not be seen.
function written(text) {
  return text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ | $/g, "␣") || "∅";
}

// tokenView is the element of a list [[text, log-probability, [[text, log-probability], ...]], ...].
function tokenView(list) {
  const box = element("div", "token-view");
  const row = element("div", "token-row");
  row.setAttribute("role", "toolbar");
  row.setAttribute("aria-label", t("Tokens of the answer; the arrow keys move"));
  const detail = element("div", "token-detail");
  detail.setAttribute("aria-live", "polite");
  const mean = list.reduce((sum, [, lp]) => sum + lp, 0) / Math.max(1, list.length);
  const hint = () => {
    detail.replaceChildren(element("p", "quiet small", t("%s tokens; perplexity %s. Point at a token, or move to one by the arrow keys, to see what else the model might have said.", list.length, Math.exp(-mean).toFixed(2))));
  };
  const show = (n) => {
    const [text, lp, top] = list[n];
    const table = element("table");
    const head = element("tr");
    for (const name of [t("Token"), t("Likelihood"), t("Log-probability")]) {
      const th = element("th", "", name);
      th.scope = "col";
      head.append(th);
    }
    const line = (word, value, own) => {
      const tr = element("tr", own ? "own" : "");
      const td = element("td");
      const code = element("code");
      showText(code, written(word));
      td.append(code);
      if (own) td.append(" ", element("span", "tag now", t("said")));
      tr.append(td, element("td", "n", share(value)), element("td", "n", value.toFixed(3)));
      return tr;
    };
    table.append(head, ...top.map(([word, value]) => line(word, value, word === text)));
    if (!top.some(([word]) => word === text)) table.append(line(text, lp, true));
    detail.replaceChildren(table);
  };
  list.forEach(([text, lp], n) => {
    const b = element("button", "token " + likelihoods.find(([below]) => Math.exp(lp) < below)[1]);
    b.type = "button";
    b.tabIndex = n ? -1 : 0;
    showText(b, text.replace(/\n/g, "⏎\n"));
    const said = b.querySelector(".esc") ? b.textContent : written(text); // a label has what is seen
    b.setAttribute("aria-label", t("%s, %s", said, share(lp)));
    b.addEventListener("focus", () => show(n));
    b.addEventListener("pointerenter", () => show(n));
    row.append(b);
  });
  row.addEventListener("keydown", (e) => {
    const all = [...row.children];
    const at = all.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[e.key];
    if (to === undefined || !all[to]) return;
    e.preventDefault();
    all[at].tabIndex = -1;
    all[to].tabIndex = 0;
    all[to].focus();
  });
  hint();
  box.append(row, detail);
  return box;
}
