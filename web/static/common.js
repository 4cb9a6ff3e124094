// Shared by the pages: text of models and people as text nodes, and calls of the server.
"use strict";

const $ = (id) => document.getElementById(id);

// t is a sentence of a page in the reader's language, of which lang/<tag>.js has the translations. Each %s in it takes the
// next value, %[2]s the second.
function t(sentence, ...values) {
  const words = (globalThis.sentences || {})[sentence] || sentence;
  let next = 0;
  return words.replace(/%(?:\[(\d+)\])?s/g, (_, n) => values[n ? n - 1 : next++]);
}

// tn is t of a sentence that counts n things; further values follow n.
function tn(one, many, n, ...values) {
  if (n === 1 && !globalThis.sentences) return t(one, n, ...values);
  return t(many, n, ...values);
}

// ink is a colour of the stylesheet, for what is drawn on a canvas.
function ink(name) {
  const probe = element("span");
  probe.style.color = "var(" + name + ")";
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

// element makes an element with a class and text.
function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// showText fills node with text nodes only. Characters that cannot be seen or that turn the reading direction are written out.
function showText(node, text) {
  node.replaceChildren();
  appendText(node, text);
}

function appendText(node, text) {
  const hidden = /(?![\t\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
  let at = 0;
  for (const m of text.matchAll(hidden)) {
    node.append(text.slice(at, m.index));
    node.append(element("span", "esc", "⟨U+" + m[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩"));
    at = m.index + m[0].length;
  }
  node.append(text.slice(at));
}

// languageOf says what language a text is in, as far as its script tells, for line breaking, fonts and speech; "" is
// unknown, so that nobody reads it aloud as if it were in the page's.
function languageOf(text) {
  const count = (re) => (text.slice(0, 4000).match(re) || []).length;
  const han = count(/\p{Script=Han}/gu);
  if (count(/[\p{Script=Hiragana}\p{Script=Katakana}]/gu) > han / 10 + 1) return "ja";
  if (count(/\p{Script=Hangul}/gu) > han) return "ko";
  if (han < 5) return "";
  const traditional = count(/[這們個說對時會來學國為後發過還裡麼樣點無與從東車長門問間開關見現當愛歡給讓書應經動將兩種]/gu);
  const simplified = count(/[这们个说对时会来学国为后发过还里么样点无与从东车长门问间开关见现当爱欢给让书应经动将两种]/gu);
  return traditional > simplified ? "zh-Hant" : simplified > traditional ? "zh-Hans" : "zh";
}

// turn is one message of a conversation.
function turn(role, text) {
  const box = element("div", "turn " + role);
  const names = { user: t("User"), assistant: t("Assistant"), system: t("System") };
  box.append(element("div", "speaker", names[role] || role));
  const said = element("bdi", "said");
  said.style.display = "block";
  said.dir = "auto";
  said.lang = languageOf(text);
  showText(said, text);
  box.append(said);
  return box;
}

// call sends JSON. It resolves to {status, body, retry}; status 0 means that the server was not reached.
async function call(method, path, body, headers, options) {
  const init = { method, headers: { Accept: "application/json", ...headers }, credentials: "same-origin", ...options };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  try {
    const res = await fetch(path, init);
    const text = await res.text();
    let parsed = null;
    try { parsed = text ? JSON.parse(text) : null; } catch { parsed = null; }
    return { status: res.status, body: parsed, retry: Number(res.headers.get("Retry-After")) || 0 };
  } catch {
    return { status: 0, body: null, retry: 0 };
  }
}

// toast says something at the edge of the window for a while; it is read out, and can be sent away.
function toast(text, bad) {
  let room = $("toasts");
  if (!room) {
    room = element("div", "toasts");
    room.id = "toasts";
    room.setAttribute("role", "status");
    document.body.append(room);
  }
  const box = element("p", bad ? "toast bad" : "toast", text);
  const away = element("button", "btn tiny plain", "×");
  away.type = "button";
  away.setAttribute("aria-label", t("Close"));
  away.addEventListener("click", () => box.remove());
  box.append(away);
  requestAnimationFrame(() => room.append(box)); // a region is listened to once it is there
  setTimeout(() => { if (!box.matches(":hover, :focus-within")) box.remove(); }, 8000);
}
