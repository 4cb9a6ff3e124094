// Instructions that have changed since they were last read: shown once, before the task, until the person says so.
"use strict";

function rereadGuideline(task) {
  const dialog = $("reread");
  if (!dialog || !task.unread || dialog.open) return;
  markdown($("reread-text"), task.instructions || "");
  $("reread-text").lang = task.language || "";
  const wrong = $("reread-wrong");
  wrong.hidden = true;
  dialog.onclose = () => { if (task.unread) dialog.showModal(); }; // Escape is no answer
  $("reread-done").onclick = async () => {
    const res = await call("POST", "/label/api/acknowledge", { project: task.project, version: task.guideline });
    if (res.status === 204) {
      task.unread = false;
      dialog.close();
      return;
    }
    wrong.textContent = (res.body && (res.body.detail || res.body.title)) || t("The server cannot be reached. Try again.");
    wrong.hidden = false;
  };
  dialog.showModal();
}
