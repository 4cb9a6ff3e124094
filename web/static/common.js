// Shared by the pages: text of models and people as text nodes, and calls of the server.
"use strict";

const $ = (id) => document.getElementById(id);

// t is a sentence of a page; each %s in it takes the next value.
function t(sentence, ...values) {
  return sentence.replace(/%s/g, () => values.shift());
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

// turn is one message of a conversation.
function turn(role, text) {
  const box = element("div", "turn " + role);
  const names = { user: "User", assistant: "Assistant", system: "System" };
  box.append(element("div", "speaker", names[role] || role));
  const said = element("bdi", "said");
  said.style.display = "block";
  said.dir = "auto";
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
