// What a policy said on its way: the prompt is chosen at once, and the numbers of a token are told where the focus moves to it.
"use strict";

(() => {
  for (const e of document.querySelectorAll("[data-script]")) e.hidden = false;
  const choice = $("prompt");
  if (!choice) return;
  choice.addEventListener("change", () => choice.form.requestSubmit());
  $("numbers").addEventListener("change", (e) => document.querySelector(".columns").classList.toggle("numbered", e.target.checked));

  for (const box of document.querySelectorAll("[data-script-focus]")) {
    const tokens = [...box.querySelectorAll(".tok")];
    const out = box.querySelector("output");
    let at = -1;
    const go = (i) => {
      if (!tokens.length) return;
      if (at >= 0) tokens[at].classList.remove("at");
      at = Math.max(0, Math.min(tokens.length - 1, i));
      const token = tokens[at];
      token.classList.add("at");
      token.scrollIntoView({ block: "nearest", inline: "nearest" });
      const told = t("“%s”: KL %s nats, probability %s", token.firstChild.textContent, token.title, token.dataset.p);
      out.textContent = token.classList.contains("again") ? told + " · " + t("said before") : told;
    };
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", box.closest("li").querySelector("h3").textContent);
    box.addEventListener("keydown", (e) => {
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tokens.length - 1 }[e.key];
      if (to === undefined || e.ctrlKey || e.altKey || e.metaKey) return;
      e.preventDefault();
      go(to);
    });
    box.addEventListener("click", (e) => {
      const i = tokens.indexOf(e.target.closest(".tok"));
      if (i >= 0) go(i);
    });
  }
})();
