// Text and bytes: TextEncoder, TextDecoder and the part of Node's Buffer that is in common use.

class TextEncoder {
  get encoding() { return 'utf-8'; }
  encode(text = '') { return native.encode(wellFormed(text)); }
  encodeInto(text, into) {
    let read = 0;
    let written = 0;
    for (const character of wellFormed(text)) {
      const bytes = native.encode(character);
      if (written + bytes.length > into.length) break;
      into.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
}

class TextDecoder {
  #label;
  #fatal;
  #ignoreBOM;
  constructor(label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
    const name = String(label).trim().toLowerCase();
    if (!['utf-8', 'utf8', 'unicode-1-1-utf-8', 'utf-16le', 'utf-16', 'latin1', 'iso-8859-1', 'ascii', 'us-ascii', 'windows-1252'].includes(name)) {
      throw new RangeError(`the encoding ${name} is not supported`);
    }
    this.#label = name.startsWith('utf-16') ? 'utf-16le' : name.startsWith('u') && name !== 'us-ascii' ? 'utf-8' : 'windows-1252';
    this.#fatal = Boolean(fatal);
    this.#ignoreBOM = Boolean(ignoreBOM);
  }
  get encoding() { return this.#label; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }
  decode(input = new Uint8Array(0), options = {}) {
    if (options.stream) throw new TypeError('decoding piece by piece is not supported; decode the whole');
    const bytes = viewed(input);
    if (this.#label === 'windows-1252') return latin1(bytes);
    let text;
    if (this.#label === 'utf-16le') {
      text = utf16(bytes);
    } else {
      if (this.#fatal && !isUtf8(bytes)) throw new TypeError('the bytes are not UTF-8');
      text = native.decode(bytes);
    }
    return !this.#ignoreBOM && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }
}

const wellFormed = (text) => String(text).toWellFormed();

// A Uint8Array over the same bytes.
function viewed(input) {
  if (input instanceof Uint8Array) return input;
  if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  if (input instanceof ArrayBuffer || input instanceof SharedArrayBuffer) return new Uint8Array(input);
  throw new TypeError('bytes are expected: an ArrayBuffer or a view of one');
}

function pieces(units, one) {
  let text = '';
  for (let at = 0; at < units.length; at += 8192) text += one(units.subarray(at, at + 8192));
  return text;
}

const latin1 = (bytes) => pieces(bytes, (part) => String.fromCharCode.apply(null, part));

function utf16(bytes) {
  const even = bytes.slice(0, bytes.length & ~1);
  return pieces(new Uint16Array(even.buffer, 0, even.length / 2), (part) => String.fromCharCode.apply(null, part));
}

function isUtf8(bytes) {
  let at = 0;
  while (at < bytes.length) {
    const first = bytes[at];
    if (first < 0x80) { at += 1; continue; }
    const more = first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2 : first >= 0xf0 && first <= 0xf4 ? 3 : 0;
    if (more === 0 || at + more >= bytes.length) return false;
    const second = bytes[at + 1];
    const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (second < low || second > high) return false;
    for (let next = 2; next <= more; next++) if ((bytes[at + next] & 0xc0) !== 0x80) return false;
    at += more + 1;
  }
  return true;
}

// Text where the bytes are text, else their base64.
function textOrBase64(bytes) {
  if (!bytes.includes(0) && isUtf8(bytes)) return native.decode(bytes);
  return { base64: Uint8Array.prototype.toBase64.call(bytes) };
}

function encodingOf(name = 'utf8') {
  const found = {
    utf8: 'utf8', 'utf-8': 'utf8', hex: 'hex', base64: 'base64', base64url: 'base64url', latin1: 'latin1',
    binary: 'latin1', ascii: 'ascii', utf16le: 'utf16le', 'utf-16le': 'utf16le', ucs2: 'utf16le', 'ucs-2': 'utf16le',
  }[String(name).toLowerCase()];
  if (!found) throw new TypeError(`Unknown encoding: ${name}`);
  return found;
}

// As Node does it: what is no base64 is passed over, what follows the first character that is no hexadecimal too.
function bytesOf(text, encoding) {
  switch (encodingOf(encoding)) {
    case 'hex': {
      const digits = /^(?:[0-9a-fA-F]{2})*/.exec(text)[0];
      return Uint8Array.fromHex(digits);
    }
    case 'base64':
    case 'base64url': {
      const plain = text.replace(/=.*$/s, '').replace(/-/g, '+').replace(/_/g, '/').replace(/[^A-Za-z0-9+/]/g, '');
      return Uint8Array.fromBase64(plain.length % 4 === 1 ? plain.slice(0, -1) : plain);
    }
    case 'latin1':
    case 'ascii':
      return Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);
    case 'utf16le': {
      const units = new Uint16Array(text.length);
      for (let at = 0; at < text.length; at++) units[at] = text.charCodeAt(at);
      return new Uint8Array(units.buffer);
    }
    default:
      return native.encode(wellFormed(text));
  }
}

function textOf(bytes, encoding) {
  switch (encodingOf(encoding)) {
    case 'hex': return Uint8Array.prototype.toHex.call(bytes);
    case 'base64': return Uint8Array.prototype.toBase64.call(bytes);
    case 'base64url': return Uint8Array.prototype.toBase64.call(bytes, { alphabet: 'base64url', omitPadding: true });
    case 'latin1': return latin1(bytes);
    case 'ascii': return latin1(bytes.map((byte) => byte & 0x7f));
    case 'utf16le': return utf16(bytes);
    default: return native.decode(bytes);
  }
}
