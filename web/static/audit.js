// The page of the audit log: verifying the hash chain with progress. Without this script the link does the same, without progress.
"use strict";

(() => {
  const link = $("verify");
  if (!link) return;
  const says = $("walk-says"), bar = $("walk-bar");

  function show(v) {
    bar.max = Math.max(1, v.total);
    bar.value = v.checked;
    if (!v.done) {
      says.textContent = t("%s of %s entries verified …", v.checked, v.total);
      return;
    }
    bar.hidden = true;
    says.className = v.broken ? "alert" : "note";
    says.textContent = v.broken ? t("The chain is broken at entry %s: the log was changed.", v.broken)
      : t("%s entries fit the hash chain; %s newer ones are not sealed yet.", v.checked, v.unsealed);
  }

  // lines calls each with what the server sends, a JSON line at a time.
  async function lines(body, each) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) each(JSON.parse(part));
    }
  }

  link.addEventListener("click", async (e) => {
    e.preventDefault();
    if (link.getAttribute("aria-disabled") === "true") return;
    link.setAttribute("aria-disabled", "true");
    $("walk").hidden = false;
    bar.hidden = false;
    says.className = "";
    says.textContent = t("Verifying …");
    let last = null;
    try {
      const res = await fetch("/admin/api/audit/verify", { headers: { Accept: "application/x-ndjson" } });
      if (res.ok) await lines(res.body, (v) => { last = v; show(v); });
    } catch { /* said below */ }
    if (!last || !last.done) {
      $("walk").hidden = true;
      toast(t("The walk broke off. Try again."), true);
    }
    link.removeAttribute("aria-disabled");
  });
})();
