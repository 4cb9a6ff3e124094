// The state of one ranking, without the page: ranks of K answers in the order shown, 0 = not ranked.
"use strict";

class Ranking {
  // sequence, where it is known, says how ties stood.
  constructor(k, ranks, sequence) {
    this.k = k;
    this.ranks = ranks && ranks.length === k ? ranks.slice() : new Array(k).fill(0);
    this.sequence = [...Array(k).keys()]; // the order on the page
    if (sequence && sequence.length === k && this.sequence.every((i) => sequence.includes(i))) this.sequence = sequence.slice();
    this.sort();
  }

  get complete() { return this.ranks.every((r) => r > 0); }
  get left() { return this.ranks.filter((r) => r === 0).length; }

  // sort keeps answers of equal rank as they stand; those without a rank follow as they were shown.
  sort() {
    const ranked = this.sequence.filter((i) => this.ranks[i] > 0);
    ranked.sort((a, b) => this.ranks[a] - this.ranks[b]); // stable
    this.sequence = ranked.concat([...this.ranks.keys()].filter((i) => this.ranks[i] === 0));
  }

  // groups are the ranked answers, best first, ties together.
  groups() {
    const out = [];
    for (const i of this.sequence) {
      if (this.ranks[i] === 0) continue;
      const last = out[out.length - 1];
      if (last && this.ranks[last[0]] === this.ranks[i]) last.push(i);
      else out.push([i]);
    }
    return out;
  }

  // state is all that a ranking is; restore takes it back.
  state() { return { ranks: this.ranks.slice(), sequence: this.sequence.slice() }; }
  restore(state) { Object.assign(this, state); }

  // regroup gives ranks to groups: each keeps its own where that still fits, else the next one free.
  regroup(groups, moved) {
    const fresh = new Array(this.k).fill(0);
    let last = 0;
    for (const g of groups) {
      const own = g.filter((i) => i !== moved).map((i) => this.ranks[i]).filter((r) => r > 0);
      last = Math.max(last + 1, own.length ? Math.min(...own) : 0);
      for (const i of g) fresh[i] = last;
    }
    if (last > this.k) groups.forEach((g, n) => { for (const i of g) fresh[i] = n + 1; });
    this.ranks = fresh;
    const order = groups.flat();
    this.sequence = order.concat([...this.ranks.keys()].filter((i) => !order.includes(i)));
  }

  // set ranks answer i; 0 takes the rank away.
  set(i, rank) {
    if (rank < 0 || rank > this.k || this.ranks[i] === rank) return false;
    this.ranks[i] = rank;
    this.sequence = this.sequence.filter((x) => x !== i).concat(i); // behind those it ties with
    this.sort();
    return true;
  }

  // up moves answer i above the group before it, out of a tie, or from the unranked to the end of the ranking.
  up(i) {
    const groups = this.groups();
    const at = groups.findIndex((g) => g.includes(i));
    if (at < 0) groups.push([i]);
    else if (groups[at].length > 1) groups.splice(at, 1, [i], groups[at].filter((x) => x !== i));
    else if (at > 0) groups.splice(at - 1, 2, [i], groups[at - 1]);
    else return false;
    this.regroup(groups, i);
    return true;
  }

  // down is the other way; the last one joins the unranked while there are any.
  down(i) {
    const groups = this.groups();
    const at = groups.findIndex((g) => g.includes(i));
    if (at < 0) return false;
    if (groups[at].length > 1) groups.splice(at, 1, groups[at].filter((x) => x !== i), [i]);
    else if (at < groups.length - 1) groups.splice(at, 2, groups[at + 1], [i]);
    else if (this.left > 0) return this.set(i, 0);
    else return false;
    this.regroup(groups, i);
    return true;
  }

  // above is the ranked answer that i could tie with, or -1.
  above(i) {
    const at = this.sequence.indexOf(i);
    const j = at > 0 ? this.sequence[at - 1] : -1;
    return j >= 0 && this.ranks[j] > 0 ? j : -1;
  }

  tied(i) {
    const j = this.above(i);
    return j >= 0 && this.ranks[i] === this.ranks[j];
  }

  // tie joins i with the answer above it; where they are tied, i goes below.
  tie(i) {
    const j = this.above(i);
    if (j < 0) return false;
    if (this.ranks[i] === this.ranks[j]) {
      const groups = this.groups();
      const at = groups.findIndex((g) => g.includes(i));
      const cut = groups[at].indexOf(i);
      groups.splice(at, 1, groups[at].slice(0, cut), groups[at].slice(cut));
        // all of the lower part give up the shared rank
      const lower = groups[at + 1];
      for (const x of lower) this.ranks[x] = 0;
      this.regroup(groups);
      return true;
    }
    return this.set(i, this.ranks[j]);
  }

  // drop places answer i as dragged: order is the page's, above says how many of it are above the line.
  drop(i, order, above) {
    const ranked = order.slice(0, above);
    const at = ranked.indexOf(i);
    if (at < 0) {
      this.ranks[i] = 0;
      this.sort();
      return true;
    }
    const before = ranked[at - 1];
    const after = ranked[at + 1];
    const groups = this.groups().map((g) => g.filter((x) => x !== i)).filter((g) => g.length);
    const own = before === undefined ? -1 : groups.findIndex((g) => g.includes(before));
    if (own >= 0 && groups[own].includes(after)) groups[own].splice(groups[own].indexOf(after), 0, i); // into a tie
    else groups.splice(own + 1, 0, [i]);
    this.regroup(groups, i);
    return true;
  }

  // shown are the ranks to print: competition ranks (1, 2, 2, 4) once all answers have one.
  shown() {
    if (!this.complete) return this.ranks;
    return this.ranks.map((r) => 1 + this.ranks.filter((q) => q < r).length);
  }

  // contradictions lists pairs [better, worse] whose ratings (0 = none) say the opposite of their ranks.
  contradictions(ratings) {
    const out = [];
    for (const i of this.sequence) {
      for (const j of this.sequence) {
        if (this.ranks[i] && this.ranks[j] && this.ranks[i] < this.ranks[j] && ratings[i] && ratings[j] && ratings[i] < ratings[j]) out.push([i, j]);
      }
    }
    return out;
  }

  // text is such as "B > A = D".
  text() {
    return this.groups().map((g) => g.map(letter).join(" = ")).join(" > ");
  }
}

function letter(i) { return String.fromCharCode(65 + i); }
