// What a labeling page keeps in this browser, whatever its question: drafts, choices, and finished work that waits to be
// sent. Each entry has a key of its own, so that two tabs never write over each other.
"use strict";

// Kept is this browser's storage under a prefix. Where storage is full or forbidden it remembers until the page closes,
// and durable is false.
class Kept {
  constructor(prefix) {
    this.prefix = prefix;
    this.memory = new Map();
    this.durable = true;
  }

  get(key) {
    try {
      const text = localStorage.getItem(this.prefix + key);
      if (text !== null) return JSON.parse(text);
    } catch { /* forbidden, or not ours */ }
    return this.memory.has(key) ? this.memory.get(key) : null;
  }

  set(key, value) { // null removes
    this.memory.delete(key);
    try {
      if (value === null) localStorage.removeItem(this.prefix + key);
      else localStorage.setItem(this.prefix + key, JSON.stringify(value));
      this.durable = true;
    } catch {
      this.durable = false;
      if (value !== null) this.memory.set(key, value);
    }
  }

  keys(start) {
    const out = new Set([...this.memory.keys()].filter((k) => k.startsWith(start)));
    try {
      for (let n = 0; n < localStorage.length; n++) {
        const k = localStorage.key(n);
        if (k.startsWith(this.prefix + start)) out.add(k.slice(this.prefix.length));
      }
    } catch { /* forbidden */ }
    return [...out].sort();
  }
}

// Drafts are unfinished values by assignment: {...values, dirty, active, at}. dirty: the server does not have them yet.
class Drafts {
  constructor(kept, days = 14) {
    this.kept = kept;
    for (const k of kept.keys("draft:")) { // of work that ended elsewhere
      const d = kept.get(k);
      if (!d || !(d.at > Date.now() - days * 86_400_000)) kept.set(k, null);
    }
  }

  get(id) { return this.kept.get("draft:" + id); }
  set(id, draft) { this.kept.set("draft:" + id, { ...draft, at: Date.now() }); }
  drop(id) { this.kept.set("draft:" + id, null); }
}

// Outbox sends finished work, oldest first, each with the key that it was first sent with, until the server has said what
// it thinks of it.
//   send(item) -> {status, body, retry} as call gives it
//   settled(item, res): the server took it (200) or refused it for good
//   waiting(item, res): not reached, or asked to wait; it is tried again
class Outbox {
  constructor(kept, { send, settled, waiting }) {
    Object.assign(this, { kept, send, settled, waiting });
    this.running = null;
    this.stalled = false; // the last run had to wait
    this.timer = 0;
    this.count = 0;
  }

  get items() { return this.kept.keys("out:").map((k) => this.kept.get(k)).filter(Boolean); }
  get empty() { return this.kept.keys("out:").length === 0; }

  // add stores an item; it is safe when this returns.
  add(item) {
    const at = String(Date.now()).padStart(15, "0") + "-" + String(this.count++).padStart(6, "0");
    const key = randomKey();
    this.kept.set("out:" + at + "-" + key, { ...item, key, slot: "out:" + at + "-" + key });
  }

  // flush sends what waits; it resolves when the box is empty or has to wait.
  async flush() {
    clearTimeout(this.timer);
    if (!this.running) this.running = alone("outbox", () => this.run()).finally(() => { this.running = null; });
    await this.running;
    return this.empty || this.stalled ? undefined : this.flush(); // something came while the last run ended
  }

  async run() {
    this.stalled = false;
    for (let items = this.items; items.length; items = this.items) {
      const item = items[0];
      const res = await this.send(item);
      if (res.status === 0 || res.status === 401 || res.status === 429 || res.status >= 500) {
        this.stalled = true;
        this.waiting(item, res);
        this.timer = setTimeout(() => this.flush(), Math.max(res.retry, res.status === 401 ? 15 : 2) * 1000);
        return;
      }
      this.kept.set(item.slot, null);
      this.settled(item, res);
    }
  }
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (x) => x.toString(16).padStart(2, "0")).join("");
}

// alone runs f while no other tab runs something of this name. Without locks (a page served without TLS) it just runs it.
function alone(name, f) {
  return navigator.locks ? navigator.locks.request("rl:" + name, f) : f();
}

// Holds tells the tabs of a browser which assignments each has open, so that no two work on the same one. The browser
// gives a hold back when its tab closes or crashes.
class Holds {
  constructor(prefix) {
    this.prefix = prefix + "hold:";
    this.mine = new Map(); // id -> gives it back
  }

  // all are the ids that any tab holds.
  async all() {
    if (!navigator.locks) return [...this.mine.keys()];
    const { held } = await navigator.locks.query();
    return held.map((l) => l.name).filter((n) => n.startsWith(this.prefix)).map((n) => n.slice(this.prefix.length));
  }

  // take resolves to false where another tab holds it.
  take(id) {
    if (this.mine.has(id)) return Promise.resolve(true);
    if (!navigator.locks) {
      this.mine.set(id, () => {});
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      navigator.locks.request(this.prefix + id, { ifAvailable: true }, (lock) => {
        resolve(Boolean(lock));
        return lock && new Promise((give) => this.mine.set(id, give));
      });
    });
  }

  give(id) {
    const give = this.mine.get(id);
    this.mine.delete(id);
    if (give) give();
  }

  giveAll() { for (const id of [...this.mine.keys()]) this.give(id); }
}
