// How a conversation looks: its turns on the open branch, answers under way, two answers side by side. What happens when a
// button is pressed is the page's (chat.js), handed over as acts.
"use strict";

// Tree knows the turns of a conversation, and which branch is open.
class Tree {
  constructor(turns, leaf) {
    this.by = new Map(turns.map((x) => [x.id, x]));
    this.leaf = leaf;
  }

  add(turn) { this.by.set(turn.id, turn); }

  children(id) { return [...this.by.values()].filter((x) => x.parent === id); }

  // branch is the way from the beginning to the leaf.
  branch() {
    const out = [];
    for (let at = this.by.get(this.leaf); at; at = this.by.get(at.parent)) out.unshift(at);
    return out;
  }

  // end is the last turn below one, by the way that was said last.
  end(id) {
    for (let next = this.children(id); next.length; next = this.children(id)) id = next[next.length - 1].id;
    return id;
  }

  siblings(turn) { return this.children(turn.parent); }

  // rival is the other answer of a comparison that nobody has decided.
  rival(turn) {
    if (turn.role !== "assistant" || turn.vote) return null;
    return this.siblings(turn).find((x) => x.id !== turn.id && x.completion === turn.completion) || null;
  }
}

const speakers = () => ({ user: t("You"), assistant: t("Model") });

// bubble is a turn without its tools.
function bubble(turn) {
  const box = element("article", "turn " + turn.role);
  box.dataset.turn = turn.id || "";
  const who = element("h2", "speaker", speakers()[turn.role]);
  if (turn.model) who.append(" · ", element("bdi", "", turn.model));
  const said = element("div", "said");
  said.dir = "auto";
  said.lang = languageOf(turn.content);
  if (turn.role === "assistant") markdown(said, turn.content);
  else showText(said, turn.content);
  said.classList.toggle("rich", turn.role === "assistant");
  box.append(who, said);
  return box;
}

function tool(text, act, pressed) {
  const b = element("button", "btn tiny plain", text);
  b.type = "button";
  if (pressed !== undefined) b.setAttribute("aria-pressed", String(pressed));
  b.addEventListener("click", act);
  return b;
}

// switcher leads to the branches beside a turn.
function switcher(tree, turn, go) {
  const all = tree.siblings(turn);
  const box = element("span", "branches");
  if (all.length < 2) return box;
  const at = all.findIndex((x) => x.id === turn.id);
  const step = (to, sign, name) => {
    const b = tool(sign, () => go(tree.end(all[to].id), turn.role));
    b.setAttribute("aria-label", name);
    b.disabled = to < 0 || to >= all.length;
    return b;
  };
  box.append(step(at - 1, "‹", t("Former version")), element("span", "stat", t("%s of %s", at + 1, all.length)), step(at + 1, "›", t("Next version")));
  return box;
}

// counts says how long question and answer were, and how the answer ended.
function counts(turn, context) {
  const box = element("span", "stat", t("%s tokens read, %s written, of %s", turn.prompt_tokens, turn.completion_tokens, context));
  const ends = { length: t("cut off at its longest"), cancelled: t("stopped") };
  if (ends[turn.finish]) box.append(" · ", ends[turn.finish]);
  if (turn.left_out) box.append(" · ", tn("%s earlier turn left out", "%s earlier turns left out", turn.left_out));
  return box;
}

// showBranch draws the open branch into node.
function showBranch(node, tree, acts, context) {
  const list = tree.branch();
  const last = list[list.length - 1];
  const rival = last && tree.rival(last);
  const out = [];
  for (const turn of rival ? list.slice(0, -1) : list) {
    const box = bubble(turn);
    const tools = element("div", "tools");
    if (turn.role === "user") {
      tools.append(tool(t("Edit"), () => acts.edit(turn)));
      if (turn === last) tools.append(tool(t("Answer"), () => acts.again(turn)));
    } else {
      tools.append(
        tool(t("Good"), () => acts.rate(turn, turn.rating === 1 ? 0 : 1), turn.rating === 1),
        tool(t("Bad"), () => acts.rate(turn, turn.rating === -1 ? 0 : -1), turn.rating === -1),
        tool(t("Answer again"), () => acts.again(tree.by.get(turn.parent))),
        tool(t("Copy"), (e) => acts.copy(turn, e.currentTarget)));
      if (turn.tokens) tools.append(tool(t("Tokens"), () => acts.tokens(turn), false));
      tools.append(counts(turn, context));
    }
    tools.append(switcher(tree, turn, acts.go));
    box.append(tools);
    out.push(box);
  }
  if (rival) out.push(versus([last, rival].sort((a, b) => a.choice - b.choice), acts, context));
  node.replaceChildren(...out);
}

// versus shows two answers beside each other, and asks which is better.
function versus(pair, acts, context) {
  const box = element("section", "versus");
  box.setAttribute("aria-label", t("Two answers"));
  const sides = element("div", "sides");
  pair.forEach((turn, n) => {
    const side = bubble(turn);
    side.querySelector("h2").textContent = n ? t("Answer B") : t("Answer A");
    const tools = element("div", "tools");
    tools.append(counts(turn, context));
    side.append(tools);
    sides.append(side);
  });
  const ask = element("div", "vote actions");
  ask.setAttribute("role", "group");
  ask.setAttribute("aria-label", t("Which answer is better?"));
  ask.append(element("strong", "", t("Which answer is better?")));
  for (const [text, turn, vote] of [[t("A is better"), pair[0], "better"], [t("B is better"), pair[1], "better"], [t("Both are fine"), pair[0], "tie"], [t("Neither is"), pair[0], "bad"]]) {
    const b = element("button", "btn", text);
    b.type = "button";
    b.addEventListener("click", () => acts.vote(turn, vote));
    ask.append(b);
  }
  box.append(sides, ask);
  return box;
}

// Under shows answers as they come.
class Under {
  constructor(node, n) {
    this.texts = Array.from({ length: n }, () => "");
    this.box = n > 1 ? element("section", "versus") : element("div");
    const sides = n > 1 ? element("div", "sides") : this.box;
    this.said = this.texts.map((_, i) => {
      const b = bubble({ role: "assistant", content: "…" });
      if (n > 1) b.querySelector("h2").textContent = i ? t("Answer B") : t("Answer A");
      sides.append(b);
      return b.querySelector(".said");
    });
    if (n > 1) this.box.append(sides);
    node.append(this.box);
  }

  add(choice, text) {
    this.texts[choice] += text;
    showText(this.said[choice], this.texts[choice] || "…");
  }

  remove() { this.box.remove(); }
}
