// What was done to a task, to be taken back and done again. It knows nothing of the question: a state is any value that
// JSON can hold.
"use strict";

class History {
  constructor(limit = 200) {
    this.limit = limit;
    this.past = [];
    this.future = [];
  }

  // record keeps the state as it was before a change.
  record(state) {
    this.past.push(JSON.stringify(state));
    if (this.past.length > this.limit) this.past.shift();
    this.future = [];
  }

  // back and forward trade the present state for the one before or after it; null where there is none.
  back(present) { return this.trade(this.past, this.future, present); }
  forward(present) { return this.trade(this.future, this.past, present); }

  trade(from, to, present) {
    if (!from.length) return null;
    to.push(JSON.stringify(present));
    return JSON.parse(from.pop());
  }
}
