// The keys of a labeling page, whatever its question. A page gives one table of actions; this room finds the action of a
// key, rests while somebody writes or an input method composes, and lets people choose other keys.
//
// An action is {name, keys, does, run} and may have
//   mode    only while the page is in this mode; without one it works in every mode whose own actions leave the key free
//   fixed   its keys cannot be changed (digits, letters of flags)
//   onPage  the key belongs to a button, link or menu while that has the focus (Enter, arrows)
//   inText  the key acts while somebody writes, too (Escape, Ctrl+Enter)
// keys are written as keyOf writes them; does is a sentence; run gets the key.
"use strict";

// keyOf names the key of an event: "j", "Shift+j", "Ctrl+z", "?", "ArrowDown"; "" for what is no shortcut.
function keyOf(e) {
  let key = e.key || "";
  if (!key || e.altKey || ["Dead", "Process", "Unidentified", "Shift", "Control", "Meta", "Alt"].includes(key)) return "";
  const place = /^Key([A-Z])$/.exec(e.code || "");
  if (key.length === 1 && key > "~" && place) key = e.shiftKey ? place[1] : place[1].toLowerCase(); // a layout of other letters
  let shift = e.shiftKey;
  if (key === " ") key = "Space";
  if (key.length === 1) {
    shift = shift && key.toLowerCase() !== key.toUpperCase(); // a sign says by itself how it was typed
    key = key.toLowerCase();
  }
  return (e.ctrlKey || e.metaKey ? "Ctrl+" : "") + (shift ? "Shift+" : "") + key;
}

// writes is true of an element into which people type.
function writes(node) {
  return Boolean(node.closest && node.closest("textarea, select, [contenteditable], input:not([type=radio]):not([type=checkbox])"));
}

class Keymap {
  // kept is where chosen keys are stored (see drafts.js).
  constructor(kept, actions) {
    this.kept = kept;
    this.actions = actions.map((a) => ({ mode: "", ...a, standard: a.keys }));
    this.mode = "";
    for (const c of this.clashes()) throw new Error("the key " + c.key + " has two actions: " + c.names.join(", "));
    const chosen = kept.get("keys") || {};
    for (const a of this.actions) {
      const own = chosen[a.name];
      if (!a.fixed && Array.isArray(own) && own.every((k) => typeof k === "string" && k)) a.keys = own;
    }
    // A key chosen on another page, or before the table changed, may be taken here: then the action keeps its standard one.
    for (let all = this.clashes(); all.length; all = this.clashes()) {
      for (const c of all) for (const name of c.names) this.action(name).keys = this.action(name).standard;
    }
  }

  // clashes lists keys that two actions of one mode share.
  clashes() {
    const seen = new Map();
    const out = [];
    for (const a of this.actions) {
      for (const key of a.keys) {
        const at = a.mode + " " + key;
        if (seen.has(at)) out.push({ key, mode: a.mode, names: [seen.get(at).name, a.name] });
        else seen.set(at, a);
      }
    }
    return out;
  }

  find(key) {
    if (!key) return undefined;
    const has = (mode) => this.actions.find((a) => a.mode === mode && a.keys.includes(key));
    return (this.mode && has(this.mode)) || has("");
  }

  action(name) { return this.actions.find((a) => a.name === name); }

  // assign gives an action another key. It returns the action that has this key already, or null.
  assign(name, key) {
    const a = this.action(name);
    const other = this.actions.find((b) => b !== a && b.keys.includes(key) && (b.mode === a.mode || b.fixed));
    if (other) return other;
    a.keys = [key];
    this.store();
    return null;
  }

  reset() {
    for (const a of this.actions) a.keys = a.standard;
    this.kept.set("keys", null);
    this.paint();
  }

  // store keeps what was chosen here beside what was chosen for actions of other pages.
  store() {
    const chosen = { ...this.kept.get("keys") };
    for (const a of this.actions) {
      if (a.keys !== a.standard) chosen[a.name] = a.keys;
      else delete chosen[a.name];
    }
    this.kept.set("keys", chosen);
    this.paint();
  }

  // Letters and digits can be switched off, for people whose speech or hands press keys by accident.
  get single() { return this.kept.get("single-keys") !== false; }
  set single(on) { this.kept.set("single-keys", on ? null : false); this.paint(); }

  handle(e) {
    if (e.defaultPrevented || e.isComposing || e.keyCode === 229 || document.querySelector("dialog[open]")) return;
    const key = keyOf(e);
    const a = this.find(key);
    if (!a || (!this.single && key.replace("Shift+", "").length === 1) || (writes(e.target) && !a.inText)) return;
    if (a.onPage && e.target.closest(key === "Enter" ? "button, summary, a" : "button, summary, a, input")) return;
    e.preventDefault();
    a.run(key);
  }

  // paint writes each action's first key into the elements with data-action="name".
  paint() {
    for (const node of document.querySelectorAll("[data-action]")) {
      const a = this.action(node.dataset.action);
      node.textContent = a ? keyText(a.keys[0]) : "";
      node.hidden = !a || !this.single;
    }
  }
}

// keyText is a key as it is printed on a keyboard.
function keyText(key) {
  const signs = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };
  return key.split("+").map((part) => signs[part] || (part.length === 1 ? part.toUpperCase() : part)).join(" ") || "+";
}

// KeysDialog is the list of keys, in which each may be changed.
class KeysDialog {
  constructor(keymap, dialog) {
    this.keymap = keymap;
    this.dialog = dialog;
    this.waiting = ""; // the action whose new key is awaited
    const part = (name) => dialog.querySelector("." + name);
    this.rows = part("keys-rows");
    this.said = part("keys-said");
    this.single = part("keys-single");
    this.single.addEventListener("change", () => { keymap.single = this.single.checked; });
    part("keys-reset").addEventListener("click", () => { keymap.reset(); this.waiting = ""; this.say(""); this.fill(); });
    dialog.addEventListener("keydown", (e) => this.pressed(e));
  }

  open() {
    this.waiting = ""; // not when it closes: that event comes late, perhaps after the next opening
    this.say("");
    this.single.checked = this.keymap.single;
    this.fill();
    this.dialog.showModal();
  }

  say(text) { this.said.textContent = text; }

  fill() {
    this.rows.replaceChildren(...this.keymap.actions.map((a) => {
      const row = element("tr");
      const keys = element("td");
      if (a.fixed && a.keys.length > 2) keys.append(element("kbd", "", keyText(a.keys[0])), " … ", element("kbd", "", keyText(a.keys[a.keys.length - 1])));
      else a.keys.forEach((k, n) => keys.append(n ? " " : "", element("kbd", "", keyText(k))));
      const change = element("td", "right");
      if (!a.fixed) {
        const b = element("button", "btn tiny plain", a.name === this.waiting ? t("Press a key") : t("Change"));
        b.type = "button";
        b.setAttribute("aria-label", t("Change the key of: %s", a.does));
        b.addEventListener("click", () => { this.waiting = a.name; this.say(t("Press the new key, or Esc to keep the old one.")); this.fill(); this.rows.querySelector("[data-waiting] button").focus(); });
        if (a.name === this.waiting) row.dataset.waiting = "";
        change.append(b);
      }
      row.append(keys, element("td", "", a.does), change);
      return row;
    }));
  }

  pressed(e) {
    if (!this.waiting) return;
    const key = keyOf(e);
    if (!key) return;
    e.preventDefault();
    e.stopPropagation();
    if (key !== "Escape") {
      const other = this.keymap.assign(this.waiting, key);
      if (other) {
        this.say(t("%s is taken: %s. Press another key.", keyText(key), other.does));
        return;
      }
    }
    const name = this.waiting;
    this.waiting = "";
    this.say("");
    this.fill();
    this.rows.children[this.keymap.actions.findIndex((a) => a.name === name)].querySelector("button").focus();
  }
}
