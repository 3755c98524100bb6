// Where one speaks: words, files and images, and what to do while a turn runs.
import { html, names, useEffect, useRef, useState } from './view.js';
import { addressOf, imagePart } from './image.js';
import { Button, Icon, say } from './parts.js';
import { tab } from './store.js';
import { bytes, t } from './words.js';

/** Bytes of a prompt with its files; the server's own limit. */
const PROMPT_BYTES_MAX = 1 << 20;
const FILES_MAX = 63;
/** Bytes of it that files leave for words. */
const WORDS_BYTES = 64 << 10;

const textPart = async (file) => ({
  type: 'file',
  name: file.name,
  media_type: file.type || 'text/plain',
  data: new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer()),
});

/** `send(content, wishes)` says it, `steer(content)` tells the running turn, `stop()` ends it. */
export function Composer({ draft, running, waiting, disabled, models, send, steer, stop }) {
  const kept = `are.draft.${draft}`;
  const [text, setText] = useState(tab.get(kept) ?? '');
  const [files, setFiles] = useState([]);
  const [model, setModel] = useState('');
  const [effort, setEffort] = useState('');
  const [over, setOver] = useState(false);
  // Files that are being read: what is sent has them all.
  const [reading, setReading] = useState(0);
  const latest = useRef({});
  const box = useRef(null);
  const picker = useRef(null);
  useEffect(() => { setText(tab.get(kept) ?? ''); setFiles([]); box.current?.focus({ preventScroll: true }); }, [kept]);
  useEffect(() => {
    if (text) tab.set(kept, text); else tab.drop(kept);
    const area = box.current;
    if (area) { area.style.height = 'auto'; area.style.height = `${Math.min(area.scrollHeight, innerHeight * 0.4)}px`; }
  }, [text]);

  latest.current = { kept, files, text };
  const isEmpty = !text.trim() && !files.length;
  // The levels of the model that is asked: the first one is used when nobody wishes for another.
  const efforts = (models?.find((one) => one.name === model) ?? models?.[0])?.efforts ?? [];
  const take = () => {
    const content = files.length
      ? [...(text.trim() ? [{ type: 'text', text }] : []), ...files.map(({ part }) => part)]
      : text;
    setText('');
    setFiles([]);
    return content;
  };
  const submit = (queue) => {
    if (isEmpty || disabled || reading) return;
    const wishes = { ...(model ? { model } : {}), ...(efforts.includes(effort) ? { effort } : {}) };
    if (running && !queue) {
      const words = text;
      steer(take()).catch(() => setText((now) => now || words));
    }
    else send(take(), { ...wishes, if_busy: 'queue' });
  };
  const key = (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(event.altKey); }
    if (event.key === 'Escape' && running && !text) { event.preventDefault(); stop(); }
  };
  const add = async (list) => {
    const forDraft = kept;
    setReading((count) => count + 1);
    const added = [];
    // Its own list of them: the browser's is empty once the event is over.
    for (const file of [...list]) {
      const isImage = /^image\/(?!svg)/.test(file.type);
      const all = [...latest.current.files, ...added];
      // Some are left for words that are yet to be written.
      const room = PROMPT_BYTES_MAX - Math.max(WORDS_BYTES, 3 * latest.current.text.length) - all.reduce((sum, one) => sum + one.part.data.length, 0);
      const tooLarge = () => say(t('file.large', { name: file.name, max: bytes(PROMPT_BYTES_MAX - WORDS_BYTES) }), 'bad');
      if (all.length >= FILES_MAX || (!isImage && file.size > room)) { tooLarge(); continue; }
      try {
        const part = isImage ? await imagePart(file, room) : await textPart(file);
        if (part) added.push({ name: file.name, part }); else tooLarge();
      } catch { say(t('file.binary', { name: file.name }), 'bad'); }
    }
    setReading((count) => count - 1);
    // Another conversation may be looked at by now.
    if (latest.current.kept === forDraft) setFiles((now) => [...now, ...added]);
    box.current?.focus();
  };
  const drop = (event) => { event.preventDefault(); setOver(false); add(event.dataTransfer.files); };
  const paste = (event) => { if (event.clipboardData.files.length) { event.preventDefault(); add(event.clipboardData.files); } };

  return html`<form class=${names('composer', over && 'over')} onSubmit=${(event) => { event.preventDefault(); submit(false); }}
      onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    ${files.length > 0 && html`<ul class="files">${files.map((file, at) => html`<li key=${at}>${file.part.type === 'image' ? html`<img class="thumb" src=${addressOf(file.part)} alt="" />` : html`<${Icon} name="file" size=${14} />`} ${file.name} <span class="muted">${bytes(file.part.data.length)}</span>
      <button type="button" aria-label=${t('file.remove', { name: file.name })} onClick=${() => setFiles(files.filter((_, n) => n !== at))}><${Icon} name="close" size=${13} /></button></li>`)}</ul>`}
    <textarea ref=${box} rows="1" id="prompt" aria-label=${t('prompt.label')} placeholder=${disabled ? t('prompt.none') : running ? t('prompt.running') : t('prompt.hint')} disabled=${disabled}
      value=${text} onInput=${(event) => setText(event.target.value)} onKeyDown=${key} onPaste=${paste}></textarea>
    <div class="composer-row">
      <input ref=${picker} type="file" multiple hidden tabindex="-1" aria-hidden="true" onChange=${(event) => { add(event.target.files); event.target.value = ''; }} />
      <${Button} kind="quiet" icon="clip" label=${t('file.add')} disabled=${disabled} onClick=${() => picker.current.click()} />
      ${models?.length > 1 && html`<label class="model-pick"><span class="visually-hidden">${t('model')}</span><select value=${model} onChange=${(event) => setModel(event.target.value)}><option value="">${t('model.default')}</option>${models.map((one) => html`<option key=${one.name} value=${one.name}>${one.name}</option>`)}</select></label>`}
      ${efforts.length > 0 && html`<label class="model-pick"><span class="visually-hidden">${t('effort')}</span><select value=${efforts.includes(effort) ? effort : ''} onChange=${(event) => setEffort(event.target.value)}><option value="">${t('effort')}</option>${efforts.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></label>`}
      <span class="spacer"></span>
      ${running ? html`
        ${!isEmpty && html`<${Button} onClick=${() => submit(true)} title=${t('prompt.queue.title')}>${t('prompt.queue')}</${Button}>`}
        ${!isEmpty && html`<${Button} kind="main" type="submit" title=${t('prompt.steer.title')}>${t('prompt.steer')}</${Button}>`}
        <${Button} kind="stop" icon="stop" label=${t('prompt.stop')} onClick=${stop}>${t('prompt.stop')}</${Button}>`
      : html`<${Button} kind="main" icon="send" type="submit" label=${t('prompt.send')} disabled=${isEmpty || disabled || waiting || reading > 0} />`}
    </div>
  </form>`;
}
