// `console`, into the call's live output; values are shown as Node shows them, roughly.

const DEPTH_MAX = 4;
const ITEMS_MAX = 100;
const TEXT_MAX = 10_000;

function shown(value, depth = 0, above = []) {
  switch (typeof value) {
    case 'string': return depth === 0 ? value : `'${value.slice(0, TEXT_MAX).replace(/\\/g, '\\\\').replace(/'/g, "\\'").replace(/\n/g, '\\n')}'`;
    case 'bigint': return `${value}n`;
    case 'symbol': return value.toString();
    case 'function': return `[${/^class\b/.test(Function.prototype.toString.call(value)) ? 'class' : 'Function'}: ${value.name || '(anonymous)'}]`;
    case 'object': break;
    default: return Object.is(value, -0) ? '-0' : String(value);
  }
  if (value === null) return 'null';
  if (above.includes(value)) return '[Circular]';
  if (value instanceof Error) return shownError(value, depth, above);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (depth > DEPTH_MAX) return Array.isArray(value) ? '[Array]' : '[Object]';
  const inner = (one) => shown(one, depth + 1, [...above, value]);
  if (value instanceof Buffer) return `<Buffer ${value.subarray(0, 50).toString('hex').replace(/..(?=.)/g, '$& ')}${value.length > 50 ? ' …' : ''}>`;
  if (Array.isArray(value) || ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    const items = Array.from(value.slice(0, ITEMS_MAX), inner);
    if (value.length > ITEMS_MAX) items.push(`… ${value.length - ITEMS_MAX} more`);
    return items.length === 0 ? '[]' : `[ ${items.join(', ')} ]`;
  }
  if (value instanceof Map) return `Map(${value.size}) {${listed([...value].map(([key, held]) => `${inner(key)} => ${inner(held)}`))}}`;
  if (value instanceof Set) return `Set(${value.size}) {${listed([...value].map(inner))}}`;
  if (value instanceof Promise) return 'Promise';
  const name = value.constructor?.name;
  const prefix = name && name !== 'Object' ? `${name} ` : '';
  return `${prefix}{${listed(Object.keys(value).map((key) => `${/^[\w$]+$/.test(key) ? key : shown(key, 1)}: ${inner(value[key])}`))}}`;
}

function listed(items) {
  if (items.length === 0) return '';
  const cut = items.length > ITEMS_MAX ? [...items.slice(0, ITEMS_MAX), `… ${items.length - ITEMS_MAX} more`] : items;
  return ` ${cut.join(', ')} `;
}

function shownError(error, depth, above) {
  const head = `${error.name}: ${error.message}`;
  const cause = error.cause === undefined ? '' : `\n  [cause]: ${shown(error.cause, depth + 1, [...above, error])}`;
  return `${head}\n${ownFrames(error)}`.trimEnd() + cause;
}

// The first argument's `%s` and its like take the ones that follow.
function formatted(args) {
  const rest = [...args];
  let text = '';
  if (typeof rest[0] === 'string' && rest.length > 1) {
    text = rest.shift().replace(/%[sdifjoOc%]/g, (mark) => {
      if (mark === '%%') return '%';
      if (rest.length === 0) return mark;
      const value = rest.shift();
      switch (mark) {
        case '%s': return typeof value === 'object' ? shown(value, 1) : String(value);
        case '%d': return String(Number(value));
        case '%i': return String(parseInt(value, 10));
        case '%f': return String(parseFloat(value));
        case '%j': return toJson(value);
        case '%c': return '';
        default: return shown(value, 1);
      }
    });
    if (rest.length > 0) text += ' ';
  }
  return text + rest.map((value) => shown(value)).join(' ');
}

const counts = new Map();
const started = new Map();
let indent = '';

function written(stream, args) {
  native.log(stream, `${indent}${formatted(args).replace(/\n/g, `\n${indent}`)}\n`);
}

const consoleObject = {
  log: (...args) => written(0, args),
  info: (...args) => written(0, args),
  debug: (...args) => written(0, args),
  dir: (value) => written(0, [shown(value, 1)]),
  table: (value) => written(0, [shown(value, 1)]),
  warn: (...args) => written(1, args),
  error: (...args) => written(1, args),
  trace: (...args) => written(1, [`Trace: ${formatted(args)}\n${ownFrames(new Error())}`]),
  assert: (holds, ...args) => { if (!holds) written(1, ['Assertion failed:', ...args]); },
  group: (...args) => { if (args.length > 0) written(0, args); indent += '  '; },
  groupCollapsed: (...args) => consoleObject.group(...args),
  groupEnd: () => { indent = indent.slice(2); },
  count: (label = 'default') => {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    written(0, [`${label}: ${counts.get(label)}`]);
  },
  countReset: (label = 'default') => { counts.delete(label); },
  time: (label = 'default') => { started.set(label, native.now()); },
  timeLog: (label = 'default', ...args) => written(0, [`${label}: ${(native.now() - (started.get(label) ?? native.now())).toFixed(1)}ms`, ...args]),
  timeEnd: (label = 'default') => { consoleObject.timeLog(label); started.delete(label); },
};
