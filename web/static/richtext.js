// Markdown of models and guidelines as elements of our own making: paragraphs, headings, lists, quotes, tables, code.
// What is not understood stays as it was written; nothing is dropped. There is no HTML, no live link and no image: their
// addresses are shown as text.
"use strict";

// markdown fills node with the elements of a text.
function markdown(node, source) {
  node.replaceChildren(...blocks(source.replace(/\r\n?/g, "\n").split("\n"), 0));
}

const deepest = 6; // lists and quotes within each other; further in, the text stays as it is

const block = {
  fence: /^ {0,3}(`{3,}|~{3,})\s*([^`]*?)\s*$/,
  heading: /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/,
  rule: /^ {0,3}([-*_])\s*(?:\1\s*){2,}$/,
  quote: /^ {0,3}>\s?(.*)$/,
  item: /^( *)([-*+]|\d{1,9}[.)])( +|$)(.*)$/,
  row: /^\s*\|?.*\|.*$/,
  under: /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/,
};

function blocks(lines, depth) {
  const out = [];
  let n = 0;
  const plain = (line) => !block.fence.test(line) && !block.heading.test(line) && !block.rule.test(line) && !(depth < deepest && (block.quote.test(line) || block.item.test(line)));
  const table = (at) => block.row.test(lines[at]) && at + 1 < lines.length && lines[at + 1].includes("-") && lines[at + 1].includes("|") && block.under.test(lines[at + 1]);
  while (n < lines.length) {
    const line = lines[n];
    let m;
    if (!line.trim()) {
      n++;
    } else if ((m = line.match(block.fence))) {
      const end = new RegExp("^ {0,3}" + m[1][0] + "{" + m[1].length + ",}\\s*$");
      const code = [];
      for (n++; n < lines.length && !end.test(lines[n]); n++) code.push(lines[n]);
      n++;
      out.push(codeBlock(code.join("\n"), m[2]));
    } else if ((m = line.match(block.heading))) {
      out.push(inline(element("h" + Math.min(6, m[1].length + 2)), m[2])); // the page's own headings stand above
      n++;
    } else if (block.rule.test(line)) {
      out.push(element("hr"));
      n++;
    } else if (depth < deepest && block.quote.test(line)) {
      const inner = [];
      for (; n < lines.length && (m = lines[n].match(block.quote)); n++) inner.push(m[1]);
      const quote = element("blockquote");
      quote.append(...blocks(inner, depth + 1));
      out.push(quote);
    } else if (depth < deepest && block.item.test(line)) {
      n = list(lines, n, depth, out);
    } else if (table(n)) {
      const rows = [lines[n]];
      for (n += 2; n < lines.length && lines[n].trim() && block.row.test(lines[n]); n++) rows.push(lines[n]);
      out.push(tableOf(rows));
    } else {
      const text = [line];
      for (n++; n < lines.length && lines[n].trim() && plain(lines[n]) && !table(n); n++) text.push(lines[n]);
      out.push(inline(element("p"), text.map((x) => x.trim()).join("\n")));
    }
  }
  return out;
}

// list reads the items that begin at line n, of one kind and indentation, and returns the line after them.
function list(lines, n, depth, out) {
  const first = lines[n].match(block.item);
  const ordered = /\d/.test(first[2]);
  const node = element(ordered ? "ol" : "ul");
  if (ordered && parseInt(first[2], 10) !== 1) node.start = parseInt(first[2], 10);
  const indent = first[1].length;
  while (n < lines.length) {
    const m = lines[n].match(block.item);
    if (!m || m[1].length < indent || m[1].length > indent + 1 || /\d/.test(m[2]) !== ordered || block.rule.test(lines[n])) break;
    const inner = [m[4]];
    for (n++; n < lines.length; n++) {
      const line = lines[n];
      const in_ = line.length - line.trimStart().length;
      if (!line.trim()) {
        if (n + 1 < lines.length && lines[n + 1].startsWith(" ".repeat(indent + 2))) inner.push(""); // the item goes on below
        else break;
      } else if (in_ >= indent + 2) {
        inner.push(line.slice(Math.min(in_, indent + m[2].length + 1)));
      } else if (block.item.test(line) || block.heading.test(line) || block.fence.test(line) || block.quote.test(line)) {
        break;
      } else {
        inner.push(line.trim());
      }
    }
    const item = element("li");
    const parts = blocks(inner, depth + 1);
    if (parts.length && parts[0].localName === "p") parts.splice(0, 1, ...parts[0].childNodes); // a short item has no paragraph
    item.append(...parts);
    node.append(item);
    let after = n;
    while (after < lines.length && !lines[after].trim()) after++;
    if (after < lines.length && block.item.test(lines[after])) n = after; // a loose list
  }
  out.push(node);
  return n;
}

function tableOf(rows) {
  const cells = (row) => row.trim().replace(/^\|/, "").replace(/\|$/, "").split("|").map((c) => c.trim());
  const table = element("table");
  rows.forEach((row, n) => {
    const tr = element("tr");
    for (const c of cells(row)) tr.append(inline(element(n ? "td" : "th"), c));
    table.append(tr);
  });
  const scroll = element("div", "wide");
  scroll.append(table);
  return scroll;
}

// inline fills parent with text and its emphasis. Each alternative stops at the first sign that could close it, so that
// reading stays linear in the text.
const spans = /(`+)([^`\n]+)\1|\*\*([^*\n]+)\*\*|__([^_\n]+)__|\*([^\s*][^*\n]*)\*|(?<![\p{L}\p{N}_])_([^\s_][^_\n]*)_(?![\p{L}\p{N}_])|~~([^~\n]+)~~|(!?)\[([^[\]\n]*)\]\(([^()\s]*)\)/gu;

function inline(parent, text) {
  let at = 0;
  const put = (tag, inner) => {
    const e = element(tag);
    if (tag === "code") appendText(e, inner);
    else inline(e, inner);
    parent.append(e);
  };
  for (const m of text.matchAll(spans)) {
    appendText(parent, text.slice(at, m.index));
    at = m.index + m[0].length;
    if (m[2] !== undefined) put("code", m[2]);
    else if (m[3] !== undefined || m[4] !== undefined) put("strong", m[3] || m[4]);
    else if (m[5] !== undefined || m[6] !== undefined) put("em", m[5] || m[6]);
    else if (m[7] !== undefined) put("s", m[7]);
    else {
      inline(parent, m[9]);
      const address = element("span", "address");
      appendText(address, (m[8] ? " ⟨" + t("image") + ": " : " ⟨") + m[10] + "⟩");
      parent.append(address);
    }
  }
  appendText(parent, text.slice(at));
  return parent;
}

// codeBlock sets comments, strings, numbers and common keywords apart, whatever the language.
const codeParts = (comments) => new RegExp("(" + comments + ")" + /|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|(?<![\w$])(\d[\w.]*)|(?<![\w$])(and|as|async|await|break|case|catch|class|const|continue|def|defer|del|do|elif|else|end|enum|except|export|extends|false|False|finally|fn|for|from|func|function|go|if|impl|import|in|interface|is|lambda|let|match|mut|new|nil|None|not|null|or|package|pass|private|public|raise|range|return|self|static|struct|switch|this|throw|true|True|try|type|use|var|void|while|with|yield|SELECT|FROM|WHERE|JOIN|INSERT|UPDATE|DELETE|CREATE|TABLE|GROUP|ORDER|BY)(?![\w$])/.source, "g");
const hashCode = codeParts("(?<![\\w$])#[^\\n]*"); // Python, shell and their like
const slashCode = codeParts("\\/\\/[^\\n]*|\\/\\*[^]*?\\*\\/|--\\s[^\\n]*");

function codeBlock(source, language) {
  const pre = element("pre");
  const code = element("code");
  let at = 0;
  const quick = source.length < 50_000; // beyond that, colours are not worth the time
  const parts = /^(py|sh|bash|zsh|console|rb|ruby|perl|r$|ya?ml|toml|make|docker)/i.test(language) || (!language && /^\s*#/m.test(source)) ? hashCode : slashCode;
  for (const m of quick ? source.matchAll(parts) : []) {
    appendText(code, source.slice(at, m.index));
    at = m.index + m[0].length;
    const part = element("span", m[1] !== undefined ? "c-note" : m[2] !== undefined ? "c-string" : m[3] !== undefined ? "c-number" : "c-word");
    appendText(part, m[0]);
    code.append(part);
  }
  appendText(code, source.slice(at));
  if (language) {
    const name = element("span", "language");
    appendText(name, language);
    pre.append(name);
  }
  pre.append(code);
  return pre;
}
