// The way to the host, and what comes back of it as errors. Every file here is
// part of one function whose parameter is `native`; nothing of it is in reach
// of scripts but what `globals.js` puts there. A script that changes built-in
// prototypes breaks only its own call: each call has an instance of its own.

const { parse: parseJson, stringify } = JSON;

// Calls that wait for the host at once; a script that begins more has lost count.
const WAITING_MAX = 256;

// JSON without halves of characters, which the host does not read: `stringify` escapes these and nothing else that way.
function toJson(value, replacer) {
  const text = stringify(value, replacer);
  if (text === undefined || !text.includes('\\ud')) return text;
  return text.replace(/\\\\|\\ud[89a-f][0-9a-f]{2}/g, (found) => (found === '\\\\' ? found : '\ufffd'));
}

const waiting = new Map();
let lastNumber = 0;

class SecurityError extends Error {}
Object.defineProperty(SecurityError.prototype, 'name', { value: 'SecurityError', writable: true, configurable: true });

// What Node calls the faults that scripts look for.
const NODE_CODES = { 'ARE-0510': 'ENOENT', 'ARE-0601': 'EACCES', 'ARE-0507': 'EACCES', 'ARE-0504': 'ETIMEDOUT' };

// An answer's value; its fault is thrown.
function opened(text) {
  const answer = parseJson(text);
  if (!answer.error) return answer.ok;
  throw faulted(answer.error, answer.outcome);
}

function faulted({ code, message, help }, outcome) {
  const error = code === 'ARE-0601' ? new SecurityError(message) : new Error(message);
  error.code = nodeCode(code, message);
  Object.defineProperty(error, 'fault', { value: { code, help, outcome } });
  return error;
}

function nodeCode(code, message) {
  if (code === 'ARE-0503' && message.endsWith('exists already')) return 'EEXIST';
  if (code === 'ARE-0503' && message.endsWith('is a directory')) return 'EISDIR';
  if (code === 'ARE-0503' && message.includes('should be')) return 'ENOTDIR';
  if (code === 'ARE-0503' && message.includes('not empty')) return 'ENOTEMPTY';
  return NODE_CODES[code] ?? code;
}

// Asks and waits.
function ask(operation, args) {
  return opened(native.ask(toJson([operation, args])));
}

// Asks without waiting.
function begin(operation, args) {
  if (isLoading) {
    return Promise.reject(new Error('files, commands and the network can be used by a tool only, not while its file is loaded'));
  }
  if (waiting.size >= WAITING_MAX) {
    return Promise.reject(new RangeError(`more than ${WAITING_MAX} calls wait at once`));
  }
  const number = ++lastNumber;
  // Where the script asked: when the answer comes, nothing of it is on the stack any more.
  const { stack } = new Error();
  const answer = new Promise((resolve, reject) => waiting.set(number, { resolve, reject, stack }));
  native.begin(number, toJson([operation, args]));
  return answer;
}

function settle(number, text) {
  const one = waiting.get(number);
  waiting.delete(number);
  try {
    one.resolve(opened(text));
  } catch (error) {
    Object.defineProperty(error, 'stack', { value: one.stack, writable: true, configurable: true });
    one.reject(error);
  }
}
