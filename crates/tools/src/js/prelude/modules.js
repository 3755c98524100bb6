// `require`: what is built in, and files beside the tool's own.

const FILES_MAX = 64;

const path = {
  sep: '/', delimiter: ':',
  isAbsolute: (one) => one.startsWith('/'),
  normalize(one) {
    const isAbsolute = one.startsWith('/');
    const parts = [];
    for (const part of one.split('/')) {
      if (part === '' || part === '.') continue;
      if (part !== '..') parts.push(part);
      else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
      else if (!isAbsolute) parts.push('..');
    }
    const text = parts.join('/') + (one.endsWith('/') && parts.length > 0 ? '/' : '');
    return (isAbsolute ? '/' : '') + text || (isAbsolute ? '/' : '.');
  },
  join: (...parts) => path.normalize(parts.filter((part) => part !== '').join('/') || '.'),
  // Without a directory that it would start from: what is relative stays so, and means the workspace.
  resolve(...parts) {
    const from = parts.findLastIndex((part) => part.startsWith('/'));
    const whole = path.join(...parts.slice(Math.max(from, 0)));
    return whole.length > 1 ? whole.replace(/\/$/, '') : whole;
  },
  dirname(one) {
    const trimmed = one.replace(/\/+$/, '');
    const at = trimmed.lastIndexOf('/');
    return at < 0 ? (one.startsWith('/') ? '/' : '.') : trimmed.slice(0, at) || '/';
  },
  basename(one, suffix = '') {
    const name = one.replace(/\/+$/, '').split('/').at(-1);
    return suffix !== '' && name !== suffix && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
  },
  extname(one) {
    const name = path.basename(one);
    const at = name.lastIndexOf('.');
    return at <= 0 ? '' : name.slice(at);
  },
  relative(from, to) {
    const [one, other] = [from, to].map((each) => path.resolve(each).split('/').filter((part) => part !== '' && part !== '.'));
    let same = 0;
    while (same < one.length && same < other.length && one[same] === other[same]) same++;
    return [...one.slice(same).map(() => '..'), ...other.slice(same)].join('/');
  },
  parse(one) {
    const base = path.basename(one);
    const ext = path.extname(one);
    return { root: one.startsWith('/') ? '/' : '', dir: path.dirname(one), base, ext, name: base.slice(0, base.length - ext.length) };
  },
  format: ({ dir, root = '', base, name = '', ext = '' }) => (dir ? `${dir}/` : root) + (base ?? name + ext),
};
path.posix = path;

const cryptoObject = {
  getRandomValues(into) {
    if (!ArrayBuffer.isView(into) || into instanceof DataView) throw new TypeError('an array of integers is expected');
    const bytes = viewed(into);
    if (bytes.length > 65536) throw new RangeError('at most 65536 bytes at once');
    native.random(bytes);
    return into;
  },
  randomUUID() {
    const bytes = cryptoObject.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  },
  randomBytes: (count) => cryptoObject.getRandomValues(Buffer.alloc(count)),
  randomInt(from, to) {
    const [low, high] = to === undefined ? [0, from] : [from, to];
    return low + Math.floor(random() * (high - low));
  },
};

// 53 bits from the host: the engine's own generator would go the same way in every call.
function random() {
  const bytes = new Uint8Array(8);
  native.random(bytes);
  const view = new DataView(bytes.buffer);
  return ((view.getUint32(0) & 0x1fffff) * 2 ** 32 + view.getUint32(4)) / 2 ** 53;
}

const builtin = () => ({
  fs, 'fs/promises': fs.promises, path, 'path/posix': path, child_process: childProcess, crypto: cryptoObject,
  buffer: { Buffer }, url: { URL, URLSearchParams }, process: processObject,
  timers: { setTimeout, setInterval, setImmediate, clearTimeout: clear, clearInterval: clear },
  'timers/promises': { setTimeout: (delay, value) => new Promise((resolve) => setTimeout(resolve, delay, value)) },
});

const modules = new Map();

function require(name) {
  if (typeof name !== 'string') throw new TypeError('a module is named by a string');
  const plain = name.replace(/^node:/, '');
  const found = builtin();
  if (Object.hasOwn(found, plain)) return found[plain];
  if (!name.startsWith('./')) {
    throw Object.assign(new Error(`Cannot find module '${name}': there are ${Object.keys(found).join(', ')}, and files beside this one as './name'`), { code: 'MODULE_NOT_FOUND' });
  }
  // Two files may require each other, and this one the tool's own.
  for (const ending of ['', '.js', '.json']) {
    const known = modules.get(name.slice(2) + ending);
    if (known) return known.exports;
  }
  const file = ask('sibling', name.slice(2));
  if (file === null) throw Object.assign(new Error(`Cannot find module '${name}' beside this file`), { code: 'MODULE_NOT_FOUND' });
  return evaluated(file.name, file.source);
}

function evaluated(name, source) {
  if (modules.size >= FILES_MAX) throw new RangeError(`more than ${FILES_MAX} files are required`);
  const module = { exports: {}, id: name, filename: `tools/${name}`, loaded: false };
  modules.set(name, module);
  if (name.endsWith('.json')) {
    module.exports = parseJson(source);
  } else {
    // On the first line, so that errors name the lines of the file.
    const run = native.evaluate(`tools/${name}`, `(function (exports, require, module, __filename, __dirname) {${source}\n})`);
    run.call(module.exports, module.exports, require, module, `tools/${name}`, 'tools');
  }
  module.loaded = true;
  return module.exports;
}
