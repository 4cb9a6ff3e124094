// The page of the design system's parts: what only a click shows.
"use strict";

(() => {
  if (!$("c-toast")) return;
  $("c-toast").addEventListener("click", () => toast(t("The settings are saved.")));
  $("c-toast-bad").addEventListener("click", () => toast(t("The walk broke off. Try again."), true));
  $("c-open").addEventListener("click", () => $("c-dialog").showModal());
})();
