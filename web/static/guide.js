// The guideline's page: its text, written with the little markdown that guidelines use.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const node = $("guideline");
  if (node) markdown(node, node.textContent);
});
