// What the host enters for, and what it is told.

let isLoading = true;
let ended = null;
const unhandled = new Map();

// As in `guest/shim.c`.
const LOAD = 0, CALL = 1, SETTLE = 2, TICK = 3, REPORT = 4, REJECTION = 5;

function door(what, number, first, second) {
  switch (what) {
    case LOAD: return guard(() => { ended = `{"state":"done","value":${toJson(load(parseJson(first)))}}`; });
    case CALL: return guard(() => call(parseJson(first)));
    case SETTLE: return guard(() => settle(number, first));
    case TICK: return guard(tick);
    case REPORT: return report();
    case REJECTION: return void (number ? unhandled.delete(first) : unhandled.set(first, second));
  }
}

function guard(step) {
  try {
    step();
  } catch (error) {
    fail(error);
  }
}

function fail(error) {
  ended ??= `{"state":"failed","error":${toJson(described(error))}}`;
}

function report() {
  // Loading has ended with its last line, and what it has begun must not fail behind it.
  if (unhandled.size > 0 && (ended === null || isLoading)) {
    const [reason] = unhandled.values();
    ended = null;
    fail(reason);
  }
  if (ended !== null) return ended;
  return toJson({ state: 'waiting', waiting: waiting.size, tick_ms: nextTimer() });
}

// Evaluates the tool's file; answers with what it exports.
function load({ file, source }) {
  const exports = evaluated(file, source);
  const one = (name, value) => ({ name, source: Function.prototype.toString.call(value), line: value.lineNumber ?? null, required: value.length });
  if (typeof exports === 'function') {
    if (!exports.name) throw new TypeError('module.exports is a function without a name; export an object of functions');
    return [one(exports.name, exports)];
  }
  if (exports === null || typeof exports !== 'object') throw new TypeError('module.exports is no object');
  return Object.keys(exports).filter((name) => typeof exports[name] === 'function').map((name) => one(name, exports[name]));
}

function call({ file, name, args, params }) {
  isLoading = false;
  ended = null;
  const exports = modules.get(file).exports;
  const run = typeof exports === 'function' ? exports : exports[name];
  const has = (param) => Object.hasOwn(args, param);
  const list = params.is_object ? [args] : params.names.map((param) => (has(param) ? args[param] : undefined));
  if (params.rest && has(params.rest)) list.push(...args[params.rest]);
  const result = run.apply(exports, list);
  Promise.resolve(result).then(
    (value) => guard(() => { ended ??= `{"state":"done","value":${answered(value)}}`; }),
    (error) => fail(error),
  );
}

// What a tool returned, as JSON.
function answered(value) {
  const text = toJson(value, jsonable);
  if (text !== undefined) return text;
  if (value === undefined) return 'null';
  throw new TypeError(`the tool returned a ${typeof value}, which is no JSON`);
}

function jsonable(key, value) {
  const raw = this[key];
  if (raw instanceof Uint8Array || raw instanceof ArrayBuffer) return textOrBase64(viewed(raw));
  if (typeof raw === 'bigint') throw new TypeError('a BigInt is no JSON; turn it into a Number or a String');
  if (raw instanceof Map) return Object.fromEntries(raw);
  if (raw instanceof Set) return [...raw];
  if (raw instanceof Error) return { name: String(raw.name), message: String(raw.message) };
  return value;
}

const TEXT_CHARS_MAX = 2000;

// An error that may be anything, and may itself fail when it is looked at.
function described(error) {
  const told = { name: '', message: '', frames: '', fault: null };
  const look = (step) => {
    try { step(); } catch { /* what cannot be looked at is left out */ }
  };
  if (typeof error === 'object' && error !== null) {
    look(() => { told.name = String(error.name ?? 'Error').slice(0, 100); });
    look(() => { told.message = String(error.message ?? shown(error, 1)).slice(0, TEXT_CHARS_MAX); });
    look(() => { told.frames = ownFrames(error).slice(0, TEXT_CHARS_MAX); });
    look(() => { if (error.fault) told.fault = { code: String(error.fault.code), help: String(error.fault.help), outcome: String(error.fault.outcome) }; });
  } else {
    look(() => { told.name = 'thrown'; told.message = shown(error, 0).slice(0, TEXT_CHARS_MAX); });
  }
  return told;
}

// The lines of a stack that are about the script's files.
function ownFrames(error) {
  return String(error.stack ?? '').split('\n').filter((line) => line.includes('tools/')).join('\n');
}
