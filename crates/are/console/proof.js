// Checks of the log of audit, made in the page: RFC 6962 hashes and proofs over
// WebCrypto, so that the server's word is not what is believed.

const encoder = new TextEncoder();
const bytesOf = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const hexOf = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const join = (...parts) => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
};
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));

/** SHA-256(0x00 ‖ line): a leaf is a record's exact bytes. */
export const leafHash = async (line) => sha256(join(Uint8Array.of(0), encoder.encode(line)));
const node = async (left, right) => sha256(join(Uint8Array.of(1), left, right));

/** The root that an inclusion proof leads to, as RFC 9162 §2.1.3.2 computes it. */
export async function rootOf(leaf, index, size, hashes) {
  let [at, last] = [BigInt(index), BigInt(size) - 1n];
  if (at > last) throw new Error('the leaf is outside of the tree');
  let hash = leaf;
  for (const other of hashes.map(bytesOf)) {
    if (last === 0n) throw new Error('the proof is too long');
    if ((at & 1n) === 1n || at === last) {
      hash = await node(other, hash);
      while (at !== 0n && (at & 1n) === 0n) { at >>= 1n; last >>= 1n; }
    } else hash = await node(hash, other);
    at >>= 1n;
    last >>= 1n;
  }
  if (last !== 0n) throw new Error('the proof is too short');
  return hexOf(hash);
}

/** Origin, size and root of a signed note (C2SP tlog-checkpoint), with its signatures. */
export function readNote(note) {
  const cut = note.indexOf('\n\n');
  if (cut < 0) throw new Error('the checkpoint is no signed note');
  const text = note.slice(0, cut + 1);
  const [origin, size, root] = text.split('\n');
  const signatures = note.slice(cut + 2).split('\n').filter(Boolean).map((line) => {
    const [, name, value] = /^— (\S+) (\S+)$/.exec(line) ?? [];
    if (!name) throw new Error('a signature cannot be read');
    const bytes = Uint8Array.from(atob(value), (c) => c.charCodeAt(0));
    return { name, key: hexOf(bytes.slice(0, 4)), signature: bytes.slice(4) };
  });
  return { text, origin, size: Number(size), root: hexOf(Uint8Array.from(atob(root), (c) => c.charCodeAt(0))), signatures };
}

/** True when the note is signed by the key of this text (`name+id+base64`); throws where the browser knows no Ed25519. */
export async function isSigned(note, vkey) {
  const [, name, id, value] = /^(.+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey) ?? [];
  if (!name) throw new Error('the key cannot be read');
  const bytes = Uint8Array.from(atob(value), (c) => c.charCodeAt(0));
  if (bytes[0] !== 1) throw new Error('the key is not Ed25519');
  const { text, signatures } = readNote(note);
  const found = signatures.find((one) => one.name === name && one.key === id);
  if (!found) return false;
  const key = await crypto.subtle.importKey('raw', bytes.slice(1), { name: 'Ed25519' }, false, ['verify']);
  return crypto.subtle.verify({ name: 'Ed25519' }, key, found.signature, encoder.encode(text));
}
