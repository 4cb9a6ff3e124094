// What differs between two texts, by words; characters where a script has no spaces. No page in here.
"use strict";

// diffTokens cuts a text into words, single characters of scripts without spaces, runs of blanks, and single signs.
function diffTokens(text) {
  return text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]|\s+|(?:(?![\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}])[\p{L}\p{N}\p{M}_'’])+|[^]/gu) || [];
}

// diff lists the pieces of a and b in order as [kind, text]: 0 in both, -1 only in a, 1 only in b. The pieces without 1
// make a, those without -1 make b.
function diff(a, b, maxEdits) { return joined(edits(a, b, maxEdits)); }

// edits is diff token by token. It is the greedy search for the shortest edit script (Myers 1986, "An O(ND) difference algorithm", figure 2), cut off
// after maxEdits edits: then the path that got furthest is kept and the search starts anew at its end. So its time is
// at most (N+M) maxEdits steps and its memory maxEdits^2 numbers; a script of more edits may be longer than need be.
function edits(a, b, maxEdits = 200) {
  const x = diffTokens(a), y = diffTokens(b);
  let head = 0, tail = 0;
  while (head < x.length && head < y.length && x[head] === y[head]) head++;
  while (tail < x.length - head && tail < y.length - head && x[x.length - 1 - tail] === y[y.length - 1 - tail]) tail++;
  const pieces = x.slice(0, head).map((w) => [0, w]);
  let i = head, j = head;
  while (i < x.length - tail || j < y.length - tail) {
    const path = search(x, y, i, j, x.length - tail, y.length - tail, maxEdits);
    for (const kind of path) {
      if (kind === 1) pieces.push([1, y[j++]]);
      else pieces.push([kind, x[i++]]);
      if (kind === 0) j++;
    }
  }
  for (const w of x.slice(x.length - tail)) pieces.push([0, w]);
  return pieces;
}

// search walks from (i, j) towards (n, m) and returns the steps: 0 both on, -1 in x, 1 in y.
function search(x, y, i, j, n, m, maxEdits) {
  const reach = new Map([[1, i]]); // diagonal k = x position - i - (y position - j) -> furthest x position
  const trace = [];
  let end = null;
  for (let d = 0; !end; d++) {
    trace.push(new Map(reach));
    let best = null;
    for (let k = -d; k <= d && !end; k += 2) {
      const down = k === -d || (k !== d && get(reach, k - 1) < get(reach, k + 1));
      let p = down ? get(reach, k + 1) : get(reach, k - 1) + 1;
      let q = p - i - k + j;
      while (p < n && q < m && p >= i && q >= j && x[p] === y[q]) { p++; q++; }
      reach.set(k, p);
      if (p > n || q > m) continue; // outside: no path ends here
      if (p === n && q === m) end = [p, q, d];
      else if (!best || p + q > best[0] + best[1]) best = [p, q, d];
    }
    if (!end && d === maxEdits) end = best;
  }
  // Back from the end, by the positions that each number of edits reached.
  const steps = [];
  let [p, q] = end;
  for (let d = end[2]; d >= 0; d--) {
    const v = trace[d];
    const k = p - i - (q - j);
    const from = k === -d || (k !== d && get(v, k - 1) < get(v, k + 1)) ? k + 1 : k - 1;
    const fp = d === 0 ? i : get(v, from);
    const fq = d === 0 ? j : fp - i - from + j;
    while (p > fp && q > fq) { steps.push(0); p--; q--; }
    if (d > 0) steps.push(p === fp ? 1 : -1);
    p = fp; q = fq;
  }
  return steps.reverse();
}

function get(reach, k) { return reach.has(k) ? reach.get(k) : -Infinity; }

// joined puts neighbours of one kind together, what is gone before what is new. A piece in common that is no longer than
// the changes on both its sides joins them: a row of changes is read as one, not as scraps.
function joined(pieces) {
  const runs = []; // {same} or {gone, fresh}
  const longest = (run) => Math.max(run.gone.length, run.fresh.length);
  const settle = () => {
    for (let n = runs.length; n >= 3; n = runs.length) {
      const [before, between, after] = runs.slice(n - 3);
      if (after.same !== undefined || between.same === undefined || between.same.length > Math.min(longest(before), longest(after))) return;
      runs.splice(n - 3, 3, { gone: before.gone + between.same + after.gone, fresh: before.fresh + between.same + after.fresh });
    }
  };
  for (const [kind, text] of pieces) {
    const last = runs[runs.length - 1];
    if (kind === 0) {
      if (last && last.same !== undefined) last.same += text;
      else {
        settle();
        runs.push({ same: text });
      }
    } else {
      const run = last && last.same === undefined ? last : { gone: "", fresh: "" };
      if (run !== last) runs.push(run);
      if (kind < 0) run.gone += text;
      else run.fresh += text;
    }
  }
  settle();
  return runs.flatMap((r) => (r.same !== undefined ? [[0, r.same]] : [[-1, r.gone], [1, r.fresh]].filter((p) => p[1])));
}
