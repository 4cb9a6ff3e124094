// The page of prompts: what is typed is kept in this browser until it is in the pool, and empty examples wait until asked for.
"use strict";

(() => {
  const form = $("write");
  const kept = form.dataset.keep;
  const refused = document.querySelector(".alert") !== null; // the server has sent back what was typed

  if ("sent" in form.dataset) {
    try { localStorage.removeItem(kept); } catch { /* nothing kept */ }
  } else if (!refused) {
    let was = null;
    try { was = JSON.parse(localStorage.getItem(kept)); } catch { was = null; }
    for (const [name, value] of Object.entries(was || {})) {
      const field = form.elements.namedItem(name);
      if (!field) continue;
      field.value = value; // a group of radio buttons takes its value too
    }
    if (was && was.answer) $("own").open = true;
    if (was) $("saved").textContent = t("Restored from this browser");
  }

  form.addEventListener("input", () => {
    const fields = Object.fromEntries(new FormData(form));
    delete fields.project;
    try { localStorage.setItem(kept, JSON.stringify(fields)); } catch { return; }
    $("saved").textContent = t("Kept in this browser");
  });

  const examples = [...form.querySelectorAll(".query-pair")];
  const filled = (e) => [...e.querySelectorAll("textarea")].some((x) => x.value);
  let shown = Math.max(2, examples.findLastIndex(filled) + 1);
  function show() {
    examples.forEach((e, i) => { e.hidden = i >= shown; });
    $("more").hidden = shown >= examples.length;
  }
  $("more").addEventListener("click", () => {
    shown++;
    show();
    examples[shown - 1].querySelector("textarea").focus();
  });
  show();
})();
