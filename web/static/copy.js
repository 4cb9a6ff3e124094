// Buttons that copy the text of another element: <button data-copy="id" hidden>. Without a clipboard they stay hidden, and
// the text can be selected as a whole.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("[data-copy]")) {
    const said = button.textContent;
    button.hidden = false;
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText($(button.dataset.copy).textContent);
        button.textContent = t("Copied");
      } catch {
        button.textContent = t("Select the text and copy it by hand");
        getSelection().selectAllChildren($(button.dataset.copy));
      }
      setTimeout(() => { button.textContent = said; }, 3000);
    });
  }
});
