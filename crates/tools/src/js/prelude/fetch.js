// `fetch` over `http_request`: decided and recorded, with the host's guard over addresses.

class Headers {
  #map = new Map();
  constructor(from = {}) {
    const pairs = typeof from[Symbol.iterator] === 'function' ? from : Object.entries(from);
    for (const [name, value] of pairs) this.append(name, value);
  }
  append(name, value) {
    const key = String(name).toLowerCase();
    this.#map.set(key, this.#map.has(key) ? `${this.#map.get(key)}, ${value}` : String(value));
  }
  set(name, value) { this.#map.set(String(name).toLowerCase(), String(value)); }
  get(name) { return this.#map.get(String(name).toLowerCase()) ?? null; }
  has(name) { return this.#map.has(String(name).toLowerCase()); }
  delete(name) { this.#map.delete(String(name).toLowerCase()); }
  forEach(callback, self) { for (const [name, value] of this) callback.call(self, value, name, this); }
  *entries() { yield* [...this.#map].sort(([one], [other]) => (one < other ? -1 : 1)); }
  *keys() { for (const [name] of this.entries()) yield name; }
  *values() { for (const [, value] of this.entries()) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  toJSON() { return Object.fromEntries(this.entries()); }
}

class Response {
  #body;
  #isUsed = false;
  constructor(body = null, { status = 200, statusText = '', headers = {}, url = '', redirected = false, truncated = false } = {}) {
    this.#body = body === null || body === undefined ? new Uint8Array(0)
      : typeof body === 'string' ? native.encode(wellFormed(body))
      : body instanceof URLSearchParams ? native.encode(body.toString()) : viewed(body);
    this.status = status;
    this.statusText = statusText;
    this.headers = headers instanceof Headers ? headers : new Headers(headers);
    this.url = url;
    this.redirected = redirected;
    this.truncated = truncated;
  }
  static json(value, init = {}) {
    const headers = new Headers(init.headers);
    if (!headers.has('content-type')) headers.set('content-type', 'application/json');
    return new Response(toJson(value), { ...init, headers });
  }
  get ok() { return this.status >= 200 && this.status < 300; }
  get bodyUsed() { return this.#isUsed; }
  #take() {
    if (this.#isUsed) throw new TypeError('the body was read already');
    if (this.truncated) throw new RangeError('the body is longer than the host reads; return the response to see its beginning');
    this.#isUsed = true;
    return this.#body;
  }
  async text() { return new TextDecoder().decode(this.#take()); }
  async json() { return parseJson(await this.text()); }
  async bytes() { return this.#take().slice(); }
  async arrayBuffer() { return this.#take().slice().buffer; }
  clone() {
    if (this.#isUsed) throw new TypeError('the body was read already');
    return new Response(this.#body, this);
  }
  // What a tool that returns the response returns.
  toJSON() {
    const shown = { status: this.status, headers: this.headers.toJSON(), body: textOrBase64(this.#body) };
    return this.truncated ? { ...shown, truncated: true } : shown;
  }
}

async function fetch(resource, init = {}) {
  const request = { url: resource instanceof URL ? resource.href : String(resource?.url ?? resource) };
  if (init.signal) throw new TypeError('`signal` is not supported; a call ends with its own deadline');
  if (init.method !== undefined) request.method = String(init.method).toUpperCase();
  const headers = new Headers(init.headers);
  if (init.body !== undefined && init.body !== null) {
    request.body = contentOf(init.body);
    if (init.body instanceof URLSearchParams && !headers.has('content-type')) {
      headers.set('content-type', 'application/x-www-form-urlencoded;charset=UTF-8');
    }
  }
  const sent = headers.toJSON();
  if (Object.keys(sent).length > 0) request.headers = sent;
  const answer = await begin('http_request', request);
  const body = answer.body ?? (answer.body_base64 === undefined ? null : bytesOf(answer.body_base64, 'base64'));
  return new Response(body, {
    status: answer.status, headers: answer.headers, url: answer.url, redirected: Boolean(answer.redirects), truncated: Boolean(answer.truncated),
  });
}
