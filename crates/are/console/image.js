// Images of prompts: made such as the server takes, and shown as what they are.

/** The kinds that are pixels and nothing else: no SVG, which can hold links and programs. */
export const PICTURES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];
/** Pixels of the longer side: what is larger costs more tokens than it tells most models. */
const SIDE_MAX = 1568;
const QUALITIES = [0.85, 0.7, 0.5];

/** An image of at most `room` bytes of base64 as a part of a prompt; null when it cannot be made that small. */
export async function imagePart(file, room) {
  const bitmap = await createImageBitmap(file);
  try {
    return await asPart(file, bitmap, room);
  } finally {
    bitmap.close();
  }
}

async function asPart(file, bitmap, room) {
  const scale = Math.min(1, SIDE_MAX / Math.max(bitmap.width, bitmap.height));
  const kind = kindOf(new Uint8Array(await file.slice(0, 14).arrayBuffer()));
  if (scale === 1 && kind) {
    const data = await base64(file);
    if (data.length <= room) return { type: 'image', media_type: kind, data };
  }
  const canvas = document.createElement('canvas');
  for (let side = scale; side > 0.05; side *= 0.7) {
    canvas.width = Math.max(1, Math.round(bitmap.width * side));
    canvas.height = Math.max(1, Math.round(bitmap.height * side));
    const pen = canvas.getContext('2d');
    // What is transparent would be black.
    pen.fillStyle = '#fff';
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    for (const quality of QUALITIES) {
      const data = await base64(await new Promise((done) => { canvas.toBlob(done, 'image/jpeg', quality); }));
      if (data.length <= room) return { type: 'image', media_type: 'image/jpeg', data };
    }
  }
  return null;
}

/** The kind by the first bytes: a file's name, by which a browser goes, says nothing. */
function kindOf(bytes) {
  const begins = String.fromCharCode(...bytes);
  if (begins.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (begins.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (/^GIF8[79]a/.test(begins)) return 'image/gif';
  return /^RIFF[^]{4}WEBPVP/.test(begins) ? 'image/webp' : null;
}

/** Where an image of a prompt can be seen; null for one of another kind. */
export const addressOf = ({ media_type, data }) => (PICTURES.includes(media_type) ? `data:${media_type};base64,${data}` : null);

async function base64(blob) {
  const reader = new FileReader();
  await new Promise((done, failed) => {
    reader.onload = done;
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(blob);
  });
  return reader.result.slice(reader.result.indexOf(',') + 1);
}
