// What stands around the open conversation at the chat page: the list of past ones, and the dialogs for settings and presets,
// the title, the link, the code, and deleting.
"use strict";

// Past is the list of conversations, newest first, and the search in it.
class Past {
  constructor({ open, current, failed }) {
    Object.assign(this, { open, current, failed });
    this.turn = 0;
    $("find").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load(), 150);
    });
    $("more").addEventListener("click", () => this.load(true));
  }

  async load(further) {
    const mine = ++this.turn;
    const last = further && $("list").lastElementChild;
    const query = new URLSearchParams({ q: $("find").value.trim(), before: last ? last.dataset.id : "" });
    const res = await call("GET", "/chat/api/conversations?" + query);
    if (mine !== this.turn) return; // another search began
    if (res.status !== 200) {
      this.failed(res);
      return;
    }
    const items = res.body.conversations.map((c) => this.item(c));
    if (further) $("list").append(...items);
    else $("list").replaceChildren(...items);
    $("more").hidden = !res.body.more;
    $("none").hidden = $("list").children.length > 0;
    $("none").textContent = $("find").value.trim() ? t("No conversation holds these words.") : t("Your conversations will stand here.");
    this.mark(this.current());
  }

  item(c) {
    const li = element("li");
    li.dataset.id = c.id;
    const a = element("a");
    a.href = "/chat?c=" + c.id;
    showText(a, c.title || t("Empty conversation"));
    a.title = c.title;
    a.addEventListener("click", (e) => {
      if (e.ctrlKey || e.metaKey || e.shiftKey) return;
      e.preventDefault();
      this.open(c.id);
    });
    li.append(a);
    return li;
  }

  mark(id) {
    for (const li of $("list").children) {
      if (li.dataset.id === id) li.firstChild.setAttribute("aria-current", "page");
      else li.firstChild.removeAttribute("aria-current");
    }
  }
}

// presetsOf are the settings that everybody has.
const presetsOf = () => [
  { id: "", name: t("As the model was trained"), settings: {} },
  { id: "", name: t("Exact: always the likeliest word"), settings: { temperature: 0 } },
  { id: "", name: t("Lively"), settings: { temperature: 1.2, top_p: 0.95 } },
];

// Dialogs does what the buttons in the conversation's head say.
class Dialogs {
  constructor(page) {
    this.page = page;
    const on = (id, open) => $(id).addEventListener("click", () => open.call(this));
    on("settings", this.settings);
    on("rename", this.rename);
    on("share", this.share);
    on("code", this.code);
    on("delete", this.remove);
    for (const b of document.querySelectorAll("dialog [data-close]")) b.addEventListener("click", () => b.closest("dialog").close());
    this.ready();
  }

  ready() {
    const form = (id, act) => $(id).addEventListener("submit", (e) => { e.preventDefault(); act.call(this); });
    form("settings-form", this.apply);
    form("rename-form", this.renamed);
    form("delete-form", this.removed);
    form("preset-form", this.savePreset);
    $("preset").addEventListener("change", () => { this.fill(this.presets[$("preset").selectedIndex].settings); this.own(); });
    $("preset-delete").addEventListener("click", () => this.deletePreset());
    $("share-make").addEventListener("click", () => this.link());
    $("share-stop").addEventListener("click", () => this.unlink());
    for (const r of document.querySelectorAll('#code-dialog input[name="kind"]')) r.addEventListener("change", () => this.kind());
  }

  // --- settings

  async settings() {
    this.fill(this.page.settings());
    $("max-tokens").max = this.page.most;
    $("settings-dialog").showModal();
    await this.loadPresets();
  }

  async loadPresets(chosen) {
    const got = await this.page.ask("GET", "presets");
    this.presets = [...presetsOf(), ...((got && got.presets) || [])];
    $("preset").replaceChildren(...this.presets.map((p) => new Option(p.name)));
    const now = JSON.stringify(this.read() || {});
    $("preset").selectedIndex = this.presets.findIndex((p) => (chosen ? p.name === chosen : JSON.stringify(p.settings) === now));
    this.own();
  }

  own() {
    const p = this.presets[$("preset").selectedIndex];
    $("preset-delete").hidden = !p || !p.id;
  }

  fill(s) {
    const put = (id, v) => { $(id).value = v === undefined ? "" : v; };
    put("temperature", s.temperature);
    put("top-p", s.top_p);
    put("max-tokens", s.max_tokens);
    put("seed", s.seed);
    put("system", s.system);
  }

  // read gives the form's settings in the server's order of fields; null where a number cannot be used.
  read() {
    const out = {};
    if (!$("settings-form").checkValidity()) return null;
    for (const [id, name] of [["temperature", "temperature"], ["top-p", "top_p"], ["max-tokens", "max_tokens"], ["seed", "seed"]]) {
      if ($(id).value !== "") out[name] = Number($(id).value);
    }
    if ($("system").value.trim()) out.system = $("system").value;
    return out;
  }

  apply() {
    const s = this.read();
    if (!s) {
      $("settings-form").reportValidity();
      return;
    }
    this.page.use(s);
    $("settings-dialog").close();
    this.page.announce(t("The next answers use these settings."));
  }

  async savePreset() {
    const s = this.read();
    const name = $("preset-name").value.trim();
    if (!s || !name) return;
    const res = await this.page.ask("PUT", "presets", { name, settings: s });
    if (!res) {
      $("settings-dialog").close();
      return;
    }
    $("preset-name").value = "";
    await this.loadPresets(name);
    this.page.announce(t("Preset saved."));
  }

  async deletePreset() {
    const p = this.presets[$("preset").selectedIndex];
    if (await this.page.ask("DELETE", "presets/" + p.id)) await this.loadPresets();
    $("preset").focus();
  }

  // --- title and end

  rename() {
    $("title-text").value = this.page.conversation().title;
    $("rename-dialog").showModal();
    $("title-text").select();
  }

  async renamed() {
    const res = await this.page.ask("PUT", "conversations/" + this.page.conversation().id, { title: $("title-text").value.trim() });
    $("rename-dialog").close();
    if (res) this.page.renamed(res);
  }

  remove() { $("delete-dialog").showModal(); }

  async removed() {
    const res = await this.page.ask("DELETE", "conversations/" + this.page.conversation().id);
    $("delete-dialog").close();
    if (res) this.page.gone();
  }

  // --- link and code

  share() {
    $("share-link-box").hidden = true;
    $("share-stop").hidden = !this.page.conversation().shared;
    $("share-says").textContent = this.page.conversation().shared ? t("There is a link. A new one takes its place.") : t("There is no link yet.");
    $("share-dialog").showModal();
  }

  async link() {
    const res = await this.page.ask("POST", "conversations/" + this.page.conversation().id + "/share", { leaf: this.page.leaf() });
    if (!res) {
      $("share-dialog").close();
      return;
    }
    this.page.shared(true);
    $("share-link").value = location.origin + res.path;
    $("share-link-box").hidden = false;
    $("share-stop").hidden = false;
    $("share-says").textContent = t("This is the link. It is shown only now.");
    $("share-link").select();
  }

  async unlink() {
    const res = await this.page.ask("DELETE", "conversations/" + this.page.conversation().id + "/share");
    if (!res) {
      $("share-dialog").close();
      return;
    }
    this.page.shared(false);
    this.revoked();
  }

  revoked() {
    $("share-link-box").hidden = true;
    $("share-stop").hidden = true;
    $("share-says").textContent = t("The link is revoked.");
    $("share-make").focus();
  }

  async code() {
    const leaf = new URLSearchParams({ leaf: this.page.leaf() });
    this.codes = await this.page.ask("GET", "conversations/" + this.page.conversation().id + "/code?" + leaf);
    if (!this.codes) return;
    this.kind();
    $("code-dialog").showModal();
  }

  kind() { $("code-text").textContent = this.codes[document.querySelector('#code-dialog input[name="kind"]:checked').value]; }
}
