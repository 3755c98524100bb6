// An artifact: bytes that a call kept for people, shown as what they are and never run.
//
// Anybody may have written them. So a picture is one of the kinds that are pixels
// and nothing else, whatever the server calls it when it gives it out; every other
// text is drawn as text, SVG and HTML too; and the rest is a file for the disk.
import { html, names, useEffect, useRef, useState } from './view.js';
import { part, request, save } from './api.js';
import { PICTURES } from './image.js';
import { Button, Failure, Icon, Labels, Loading, Visible, useAct, useLoaded } from './parts.js';
import { bytes, t } from './words.js';

const TEXTS = /^(text\/.+|application\/(json|xml|xhtml\+xml)|image\/svg\+xml)$/;
/** Bytes of a picture that is fetched without being asked for. */
const PICTURE_BYTES_MAX = 8 << 20;
/** Bytes of a text that are drawn. */
const TEXT_BYTES_MAX = 200 << 10;
/** How far outside of what is seen a picture is fetched. */
const NEAR = '400px';

/** How it can be looked at; null when it can only be downloaded. */
function wayOf({ media_type, bytes: size }) {
  if (PICTURES.includes(media_type)) return size <= PICTURE_BYTES_MAX ? 'picture' : null;
  return TEXTS.test(media_type) ? 'text' : null;
}

const fetched = ({ digest }, session, options) => request('GET', `/api/sessions/${part(session)}/artifacts/${part(digest)}`, options);
// SECURITY: of the kind that it is taken for here, so that nothing opens it as another one.
const blobOf = async (response, kind) => new Blob([await response.arrayBuffer()], { type: kind });

/** One artifact; `more` stands behind its facts, and `lean` shows a picture only when it is opened. */
export function Artifact({ artifact, session, more, lean }) {
  const [open, setOpen] = useState(false);
  const { name, media_type, labels, seq } = artifact;
  const id = `artifact-${seq}`;
  if (name === null) return html`<p class="artifact erased" id=${id}><${Icon} name="file" size=${15} /> <span>${t('erased')} · ${bytes(artifact.bytes)}</span>${more}</p>`;
  const way = wayOf(artifact);
  const isShown = open || (way === 'picture' && !lean);
  return html`<figure class="artifact" id=${id}>
    <figcaption>
      <${Icon} name="file" size=${15} /><strong><${Visible} text=${name} /></strong><span class="muted small">${media_type} · ${bytes(artifact.bytes)}</span>
      ${labels && html`<${Labels} labels=${labels} />`}${more}
      <span class="row">${way && html`<${Button} small aria-expanded=${open} aria-controls=${`${id}-shown`} aria-label=${`${open ? t('close') : t('open')} ${name}`} onClick=${() => setOpen(!open)}>${open ? t('close') : t('open')}</${Button}>`}
        <${Download} artifact=${artifact} session=${session} /></span>
    </figcaption>
    <div id=${`${id}-shown`}>${isShown && html`<${way === 'picture' ? Picture : Text} artifact=${artifact} session=${session} open=${open} />`}</div>
  </figure>`;
}

function Download({ artifact, session }) {
  const [busy, act] = useAct();
  const take = () => act(async () => save(artifact.name, await blobOf(await fetched(artifact, session), 'application/octet-stream')));
  return html`<${Button} small icon="save" busy=${busy} aria-label=${`${t('download')} ${artifact.name}`} onClick=${take}>${t('download')}</${Button}>`;
}

/** Becomes true for good when the element comes near to what is seen. */
function useNear(element) {
  const [near, setNear] = useState(false);
  useEffect(() => {
    const seen = (all) => { if (all.some((one) => one.isIntersecting)) setNear(true); };
    const watch = new IntersectionObserver(seen, { root: element.current.closest('.scroller, .page-scroll'), rootMargin: NEAR });
    watch.observe(element.current);
    return () => watch.disconnect();
  }, []);
  return near;
}

function Picture({ artifact, session, open }) {
  const box = useRef(null);
  const near = useNear(box);
  const [url, setUrl] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    if (!near) return undefined;
    const ending = new AbortController();
    let made = null;
    const load = async () => {
      const blob = await blobOf(await fetched(artifact, session, { signal: ending.signal }), artifact.media_type);
      if (ending.signal.aborted) return;
      made = URL.createObjectURL(blob);
      setUrl(made);
    };
    load().catch((failed) => { if (failed.name !== 'AbortError') setError(failed); });
    return () => { ending.abort(); if (made) URL.revokeObjectURL(made); };
  }, [near]);
  if (error) return html`<${Failure} error=${error} />`;
  return html`<div class=${names('picture', open && 'whole')} ref=${box}>${url ? html`<img src=${url} alt=${artifact.name} />` : html`<span class="spinner" aria-hidden="true"></span>`}</div>`;
}

function Text({ artifact, session }) {
  const { value, error, again } = useLoaded(async () => beginning(await fetched(artifact, session)), []);
  if (error) return html`<${Failure} error=${error} again=${again} />`;
  if (!value) return html`<${Loading} />`;
  return html`<pre tabindex="0" aria-label=${artifact.name}><${Visible} text=${value.text} /></pre>
    ${value.isCut && html`<p class="muted small">${t('artifact.cut', { max: bytes(TEXT_BYTES_MAX) })}</p>`}`;
}

/** The text of an answer as far as it is drawn; the rest is not fetched. */
async function beginning({ body }) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let [text, room, isCut] = ['', TEXT_BYTES_MAX, false];
  while (!isCut) {
    const { done, value } = await reader.read();
    if (done) break;
    const piece = value.subarray(0, room);
    text += decoder.decode(piece, { stream: true });
    room -= piece.length;
    isCut = piece.length < value.length;
  }
  if (isCut) reader.cancel().catch(() => { /* It had ended. */ });
  // Ends of lines are no characters that hide.
  return { text: text.replaceAll('\r\n', '\n'), isCut };
}
