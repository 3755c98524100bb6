// Timers. The host is told only when the next one is due, and comes back then.

const TIMERS_MAX = 1000;
const DELAY_MAX = 2 ** 31 - 1;

const timers = new Map();
let lastTimer = 0;

class Timeout {
  #number;
  constructor(number) { this.#number = number; }
  ref() { return this; }
  unref() { return this; }
  hasRef() { return timers.has(this.#number); }
  [Symbol.toPrimitive]() { return this.#number; }
}

function timer(callback, delay, args, repeats) {
  if (typeof callback !== 'function') throw new TypeError('a function is expected');
  if (isLoading) throw new Error('a timer can be set by a tool only, not while the file is loaded');
  if (timers.size >= TIMERS_MAX) throw new RangeError(`more than ${TIMERS_MAX} timers wait`);
  const after = Math.min(Math.max(Number(delay) || 0, repeats ? 1 : 0), DELAY_MAX);
  const number = ++lastTimer;
  timers.set(number, { number, callback, args, after, repeats, due: native.now() + after });
  return new Timeout(number);
}

const setTimeout = (callback, delay, ...args) => timer(callback, delay, args, false);
const setInterval = (callback, delay, ...args) => timer(callback, delay, args, true);
const setImmediate = (callback, ...args) => timer(callback, 0, args, false);
const clear = (timeout) => { if (timeout !== undefined && timeout !== null) timers.delete(Number(timeout)); };

const inOrder = () => [...timers.values()].sort((one, other) => one.due - other.due || one.number - other.number);

// Milliseconds until the next one is due; null when there is none.
function nextTimer() {
  const [first] = inOrder();
  return first ? Math.max(0, Math.ceil(first.due - native.now())) : null;
}

// Runs the first that is due; jobs follow each one before the next, as in other runtimes.
function tick() {
  const [first] = inOrder();
  if (!first || first.due > native.now()) return;
  if (first.repeats) {
    first.due = native.now() + first.after;
  } else {
    timers.delete(first.number);
  }
  first.callback.apply(undefined, first.args);
}
