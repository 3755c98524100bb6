// `fs` over the file tools: every use is a call of its own, decided and recorded.

// Bytes that one `fs_read` gives at most, and all of them together.
const WINDOW_BYTES = 256 * 1024;
const FILE_BYTES_MAX = 4 * 1024 * 1024;

function pathOf(path) {
  if (path instanceof URL) {
    if (path.protocol !== 'file:') throw new TypeError('only file: URLs name files');
    return decodeURIComponent(path.pathname);
  }
  if (path instanceof Uint8Array) return native.decode(path);
  if (typeof path !== 'string') throw new TypeError('a path is a string');
  return path === '' ? '.' : path;
}

function contentOf(data, options) {
  if (typeof data === 'string') {
    const encoding = optionsOf(options).encoding ?? 'utf8';
    if (encodingOf(encoding) === 'utf8') return wellFormed(data);
    data = bytesOf(data, encoding);
  }
  const bytes = data instanceof Uint8Array || data instanceof ArrayBuffer || ArrayBuffer.isView(data)
    ? viewed(data) : native.encode(wellFormed(data));
  if (!isUtf8(bytes)) throw new TypeError('only text can be written: these bytes are not UTF-8');
  return native.decode(bytes);
}

const optionsOf = (options) => (typeof options === 'string' ? { encoding: options } : options ?? {});

// Each function is written once, as steps of `[tool, args]`, and driven with or without waiting.
function* read(path, options) {
  const { encoding } = optionsOf(options);
  if (encoding) encodingOf(encoding);
  const name = pathOf(path);
  let text = '';
  let offset = 0;
  let total;
  for (;;) {
    const window = yield ['fs_read', { path: name, offset, limit: WINDOW_BYTES }];
    if (window.binary) throw new TypeError(`${name} is not text; only text files can be read`);
    if (total !== undefined && window.bytes !== total) throw Object.assign(new Error(`${name} was changed while it was read`), { code: 'EBUSY' });
    total = window.bytes;
    if (total > FILE_BYTES_MAX) throw new RangeError(`${name} has ${total} bytes; at most ${FILE_BYTES_MAX} can be read`);
    text += window.content;
    if (window.next_offset === undefined) break;
    offset = window.next_offset;
  }
  if (encoding && encodingOf(encoding) === 'utf8') return text;
  const bytes = buffered(native.encode(text));
  return encoding ? bytes.toString(encoding) : bytes;
}

function* write(path, data, options) {
  const { flag } = optionsOf(options);
  if (flag?.startsWith('a')) return yield* append(path, data, options);
  if (flag?.includes('x') && (yield* exists(path))) {
    throw Object.assign(new Error(`${pathOf(path)} exists already`), { code: 'EEXIST' });
  }
  yield ['fs_write', { path: pathOf(path), content: contentOf(data, options) }];
}

function* append(path, data, options) {
  const more = contentOf(data, options);
  let text = '';
  try {
    text = yield* read(path, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  yield ['fs_write', { path: pathOf(path), content: text + more }];
}

function* exists(path) {
  try {
    yield ['fs_stat', { path: pathOf(path) }];
    return true;
  } catch (error) {
    // Also for one that may not be looked at, as everywhere else.
    return false;
  }
}

function* access(path) { yield ['fs_stat', { path: pathOf(path) }]; }

class Stats {
  constructor({ kind, bytes, modified_at_ms }) {
    this.size = bytes;
    this.mtimeMs = modified_at_ms ?? 0;
    this.mtime = new Date(this.mtimeMs);
    Object.defineProperty(this, 'kind', { value: kind });
  }
  isFile() { return this.kind === 'file'; }
  isDirectory() { return this.kind === 'directory'; }
  isSymbolicLink() { return this.kind === 'link'; }
}

function* stat(path, options) {
  try {
    return new Stats(yield ['fs_stat', { path: pathOf(path) }]);
  } catch (error) {
    if (error.code === 'ENOENT' && optionsOf(options).throwIfNoEntry === false) return undefined;
    throw error;
  }
}

class Dirent {
  constructor(path, { name, kind }) {
    this.name = name;
    this.parentPath = path;
    Object.defineProperty(this, 'kind', { value: kind });
  }
  isFile() { return this.kind === 'file'; }
  isDirectory() { return this.kind === 'directory'; }
  isSymbolicLink() { return this.kind === 'link'; }
}

function* readdir(path, options) {
  const { withFileTypes, recursive } = optionsOf(options);
  if (recursive) throw new TypeError('reading a directory recursively is not supported');
  const name = pathOf(path);
  const { entries, truncated, total } = yield ['fs_list', { path: name }];
  if (truncated) throw new RangeError(`${name} has ${total} entries; at most ${entries.length} can be listed`);
  return entries.map((entry) => (withFileTypes ? new Dirent(name, entry) : entry.name));
}

function* mkdir(path, options) {
  const name = pathOf(path);
  const { recursive } = optionsOf(options);
  const { created } = yield ['fs_mkdir', { path: name }];
  if (!recursive && !created) throw Object.assign(new Error(`${name} exists already`), { code: 'EEXIST' });
  return recursive && created ? name : undefined;
}

function* unlink(path) { yield ['fs_delete', { path: pathOf(path) }]; }

function* rm(path, options) {
  const { recursive, force } = optionsOf(options);
  if (recursive) throw new TypeError('removing a directory with what is in it is not supported');
  try {
    yield* unlink(path);
  } catch (error) {
    if (!force || error.code !== 'ENOENT') throw error;
  }
}

// Nothing is overwritten, unlike in Node: the tool that moves refuses.
function* rename(from, to) { yield ['fs_move', { from: pathOf(from), to: pathOf(to) }]; }

function* copyFile(from, to) {
  const text = yield* read(from, 'utf8');
  yield ['fs_write', { path: pathOf(to), content: text }];
}

function waitingFor(steps) {
  return (...args) => {
    const run = steps(...args);
    let step = run.next();
    while (!step.done) {
      let answer;
      try {
        answer = ask(...step.value);
      } catch (error) {
        step = run.throw(error);
        continue;
      }
      step = run.next(answer);
    }
    return step.value;
  };
}

function promised(steps) {
  return async (...args) => {
    const run = steps(...args);
    let step = run.next();
    while (!step.done) {
      let answer;
      try {
        answer = await begin(...step.value);
      } catch (error) {
        step = run.throw(error);
        continue;
      }
      step = run.next(answer);
    }
    return step.value;
  };
}

// With a function as the last argument as Node has it, without one a promise.
function called(promise) {
  return (...args) => {
    const back = args.at(-1);
    if (typeof back !== 'function') return promise(...args);
    promise(...args.slice(0, -1)).then((value) => back(null, value), (error) => back(error));
  };
}

const fs = { promises: {}, constants: { F_OK: 0, R_OK: 4, W_OK: 2, X_OK: 1 } };
for (const [name, steps] of Object.entries({
  readFile: read, writeFile: write, appendFile: append, access, stat, lstat: stat, readdir, mkdir, unlink,
  rmdir: unlink, rm, rename, copyFile,
})) {
  fs.promises[name] = promised(steps);
  fs[name] = called(fs.promises[name]);
  fs[`${name}Sync`] = waitingFor(steps);
}
fs.existsSync = waitingFor(exists);
fs.exists = (path, back) => { promised(exists)(path).then(back); };
