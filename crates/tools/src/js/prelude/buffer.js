// Node's Buffer, the part that is in common use.

class Buffer extends Uint8Array {
  static from(value, encoding, length) {
    if (typeof value === 'string') return buffered(bytesOf(value, encoding));
    if (value instanceof ArrayBuffer) return new Buffer(value, encoding, length);
    if (value?.type === 'Buffer' && Array.isArray(value.data)) return Buffer.from(value.data);
    if (value === null || typeof value !== 'object') throw new TypeError('a string, bytes or an array is expected');
    return buffered(Uint8Array.from(value));
  }
  static of(...items) { return Buffer.from(items); }
  static alloc(size, fill, encoding) {
    const made = new Buffer(size);
    return fill === undefined ? made : made.fill(fill, 0, size, encoding);
  }
  static allocUnsafe(size) { return new Buffer(size); }
  static isBuffer(value) { return value instanceof Buffer; }
  static isEncoding(name) {
    try { return Boolean(encodingOf(name)); } catch { return false; }
  }
  static byteLength(value, encoding) {
    return typeof value === 'string' ? bytesOf(value, encoding).length : viewed(value).length;
  }
  static concat(list, total = list.reduce((sum, one) => sum + one.length, 0)) {
    const made = new Buffer(total);
    let at = 0;
    for (const one of list) {
      if (at >= total) break;
      made.set(one.subarray(0, total - at), at);
      at += one.length;
    }
    return made;
  }
  static compare(one, other) { return Buffer.from(one).compare(other); }

  toString(encoding, start = 0, end = this.length) { return textOf(this.subarray(start, end), encoding); }
  toJSON() { return { type: 'Buffer', data: Array.from(this) }; }
  equals(other) { return this.compare(other) === 0; }
  compare(other) {
    const length = Math.min(this.length, other.length);
    for (let at = 0; at < length; at++) if (this[at] !== other[at]) return this[at] < other[at] ? -1 : 1;
    return Math.sign(this.length - other.length);
  }
  slice(start, end) { return this.subarray(start, end); }
  copy(target, targetStart = 0, start = 0, end = this.length) {
    const part = this.subarray(start, Math.min(end, start + Math.max(0, target.length - targetStart)));
    target.set(part, targetStart);
    return part.length;
  }
  write(text, offset = 0, length = this.length - offset, encoding = 'utf8') {
    if (typeof offset === 'string') return this.write(text, 0, this.length, offset);
    if (typeof length === 'string') return this.write(text, offset, this.length - offset, length);
    const bytes = bytesOf(text, encoding).subarray(0, Math.min(length, this.length - offset));
    this.set(bytes, offset);
    return bytes.length;
  }
  fill(value, start = 0, end = this.length, encoding = 'utf8') {
    if (typeof value === 'number') return super.fill(value, start, end);
    const bytes = typeof value === 'string' ? bytesOf(value, encoding) : value;
    if (bytes.length === 0) return super.fill(0, start, end);
    for (let at = start; at < end; at++) this[at] = bytes[(at - start) % bytes.length];
    return this;
  }
  indexOf(value, from = 0, encoding = 'utf8') {
    if (typeof value === 'number') return super.indexOf(value & 0xff, from);
    const wanted = typeof value === 'string' ? bytesOf(value, encoding) : value;
    for (let at = from < 0 ? Math.max(0, this.length + from) : from; at + wanted.length <= this.length; at++) {
      let same = 0;
      while (same < wanted.length && this[at + same] === wanted[same]) same++;
      if (same === wanted.length) return at;
    }
    return -1;
  }
  includes(value, from, encoding) { return this.indexOf(value, from, encoding) !== -1; }
}

const buffered = (bytes) => new Buffer(bytes.buffer, bytes.byteOffset, bytes.byteLength);

// readUInt16LE, writeInt32BE and the like, over DataView.
for (const [name, kind, size] of [
  ['UInt8', 'Uint8', 1], ['Int8', 'Int8', 1], ['UInt16', 'Uint16', 2], ['Int16', 'Int16', 2],
  ['UInt32', 'Uint32', 4], ['Int32', 'Int32', 4], ['BigUInt64', 'BigUint64', 8], ['BigInt64', 'BigInt64', 8],
  ['Float', 'Float32', 4], ['Double', 'Float64', 8],
]) {
  for (const [order, isLittle] of size === 1 ? [['', true]] : [['LE', true], ['BE', false]]) {
    const view = (buffer) => new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    const define = (method, value) => {
      Object.defineProperty(Buffer.prototype, method, { value, writable: true, configurable: true });
      const other = method.replace('UInt', 'Uint');
      if (other !== method) Object.defineProperty(Buffer.prototype, other, { value, writable: true, configurable: true });
    };
    define(`read${name}${order}`, function (offset = 0) { return view(this)[`get${kind}`](offset, isLittle); });
    define(`write${name}${order}`, function (value, offset = 0) {
      view(this)[`set${kind}`](offset, value, isLittle);
      return offset + size;
    });
  }
}
