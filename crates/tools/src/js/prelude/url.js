// URL, read by the host with the code that also decides where requests go; and URLSearchParams.

const PART = Symbol("part");
const CHANGE = Symbol("change");
const REFILL = Symbol("refill");
const OWN = Symbol("own");

class URL {
  #parts;
  #query;
  constructor(href, base) {
    this.#read({ href: String(href), base: base === undefined ? undefined : String(base) });
  }
  static canParse(href, base) {
    try { return Boolean(new URL(href, base)); } catch { return false; }
  }
  static parse(href, base) {
    try { return new URL(href, base); } catch { return null; }
  }
  #read(request) {
    const parts = ask('url', request);
    if (parts === null) throw Object.assign(new TypeError('Invalid URL'), { code: 'ERR_INVALID_URL', input: request.href });
    this.#parts = parts;
    this.#query?.[REFILL](parts.search);
  }
  get [PART]() { return (name) => this.#parts[name]; }
  get [CHANGE]() { return (name, value) => this.#read({ href: this.#parts.href, set: [name, String(value)] }); }
  get origin() { return this.#parts.origin; }
  get searchParams() {
    this.#query ??= new URLSearchParams(this.#parts.search)[OWN](this);
    return this.#query;
  }
  toString() { return this.#parts.href; }
  toJSON() { return this.#parts.href; }
}

for (const name of ['href', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash']) {
  Object.defineProperty(URL.prototype, name, {
    get() { return this[PART](name); },
    set(value) { this[CHANGE](name, value); },
    enumerable: true,
    configurable: true,
  });
}

class URLSearchParams {
  #list = [];
  #url = null;
  constructor(from = '') {
    if (typeof from === 'object' && from !== null) {
      const pairs = typeof from[Symbol.iterator] === 'function' ? from : Object.entries(from);
      for (const [name, value] of pairs) this.#list.push([wellFormed(name), wellFormed(value)]);
    } else {
      this[REFILL](String(from));
    }
  }
  [OWN](url) { this.#url = url; return this; }
  [REFILL](search) {
    const text = search.startsWith('?') ? search.slice(1) : search;
    this.#list = text.split('&').filter((pair) => pair !== '').map((pair) => {
      const at = pair.indexOf('=');
      return at < 0 ? [decoded(pair), ''] : [decoded(pair.slice(0, at)), decoded(pair.slice(at + 1))];
    });
  }
  #changed() {
    const url = this.#url;
    if (url === null) return;
    this.#url = null;
    url.search = this.toString();
    this.#url = url;
  }
  get size() { return this.#list.length; }
  append(name, value) { this.#list.push([wellFormed(name), wellFormed(value)]); this.#changed(); }
  delete(name, value) {
    this.#list = this.#list.filter(([key, held]) => key !== String(name) || (value !== undefined && held !== String(value)));
    this.#changed();
  }
  get(name) { return this.#list.find(([key]) => key === String(name))?.[1] ?? null; }
  getAll(name) { return this.#list.filter(([key]) => key === String(name)).map(([, value]) => value); }
  has(name, value) {
    return this.#list.some(([key, held]) => key === String(name) && (value === undefined || held === String(value)));
  }
  set(name, value) {
    const at = this.#list.findIndex(([key]) => key === String(name));
    if (at < 0) return this.append(name, value);
    this.#list[at] = [wellFormed(name), wellFormed(value)];
    this.#list = this.#list.filter(([key], index) => index <= at || key !== String(name));
    this.#changed();
  }
  sort() {
    this.#list.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
    this.#changed();
  }
  forEach(callback, self) { for (const [name, value] of this.#list) callback.call(self, value, name, this); }
  *entries() { yield* this.#list.map(([name, value]) => [name, value]); }
  *keys() { for (const [name] of this.#list) yield name; }
  *values() { for (const [, value] of this.#list) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  toString() { return this.#list.map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join('&'); }
}

function decoded(text) {
  const bytes = native.encode(wellFormed(text.replace(/\+/g, ' ')));
  const out = [];
  for (let at = 0; at < bytes.length; at++) {
    const hex = bytes[at] === 0x25 ? String.fromCharCode(...bytes.subarray(at + 1, at + 3)) : '';
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      out.push(parseInt(hex, 16));
      at += 2;
    } else {
      out.push(bytes[at]);
    }
  }
  return native.decode(Uint8Array.from(out));
}

// SOURCE: URL Standard, application/x-www-form-urlencoded percent-encode set.
function encoded(text) {
  return encodeURIComponent(text).replace(/[!'()~]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`).replace(/%20/g, '+');
}
