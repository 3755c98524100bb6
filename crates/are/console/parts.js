// The pieces that pages are made of.
import { html, names, useEffect, useRef, useState } from './view.js';
import { Icon } from './icons.js';
import { Value, useValue } from './store.js';
import { clock, day, moment, span, t, tOr } from './words.js';
import { get } from './api.js';

export { Icon };

/** A button; `icon` alone needs `label`. */
export function Button({ icon, label, kind = 'plain', small, busy, children, ...rest }) {
  return html`<button type="button" class=${names('button', kind, small && 'small', !children && 'only')} aria-label=${children ? undefined : label} title=${label} disabled=${busy || rest.disabled} ...${rest}>
    ${icon && html`<${Icon} name=${icon} size=${small ? 15 : 17} />`}${children}
  </button>`;
}

export function CopyButton({ text, label }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try { await navigator.clipboard.writeText(text); setDone(true); setTimeout(() => setDone(false), 1500); } catch { say(t('copy.refused'), 'warn'); }
  };
  return html`<${Button} small kind="quiet" icon=${done ? 'check' : 'copy'} label=${done ? t('copy.done') : label ?? t('copy')} onClick=${copy} />`;
}

// ---- messages that come and go

const toasts = new Value([]);
let toastNumber = 0;
/** Tells something briefly. */
export function say(text, kind = 'plain') {
  const id = ++toastNumber;
  toasts.set([...toasts.value.slice(-3), { id, text, kind }]);
  setTimeout(() => toasts.set(toasts.value.filter((one) => one.id !== id)), kind === 'bad' ? 9000 : 4500);
}
/** Tells of a failure. */
export const fail = (error) => say(`${error.code ? `${error.code} · ` : ''}${explain(error)}`, 'bad');
export const explain = (error) => (error.code === 'ARE-0105' ? t('unreachable') : error.message || String(error));

export function Toasts() {
  const all = useValue(toasts);
  return html`<div class="toasts" role="status" aria-live="polite">${all.map((one) => html`<div key=${one.id} class=${names('toast', one.kind)}>${one.text}</div>`)}</div>`;
}

// ---- dialogs

const open = new Value(null);
/** Shows a dialog; resolves to what it was closed with. */
export function ask(draw) {
  return new Promise((resolve) => open.set({ draw, resolve }));
}
/** Asks yes or no. */
export const confirm = (title, text, yes, kind = 'danger') => ask((close) => html`
  <h2>${title}</h2>
  <div class="dialog-body">${typeof text === 'string' ? html`<p>${text}</p>` : text}</div>
  <div class="row end"><${Button} onClick=${() => close(false)}>${t('cancel')}</${Button}><${Button} kind=${kind} autofocus onClick=${() => close(true)}>${yes}</${Button}></div>`);
/** Asks for a line of text. */
export const prompt = (title, label, value = '', yes = t('save')) => ask((close) => html`<${Line} ...${{ title, label, value, yes, close }} />`);

function Line({ title, label, value, yes, close }) {
  const [text, setText] = useState(value);
  return html`<form onSubmit=${(event) => { event.preventDefault(); close(text); }}>
    <h2>${title}</h2>
    <label class="field"><span>${label}</span><input autofocus value=${text} onInput=${(event) => setText(event.target.value)} /></label>
    <div class="row end"><${Button} onClick=${() => close(null)}>${t('cancel')}</${Button}><${Button} kind="main" type="submit">${yes}</${Button}></div>
  </form>`;
}

export function Dialogs() {
  const now = useValue(open);
  const box = useRef(null);
  useEffect(() => {
    if (!now || !box.current) return undefined;
    const before = document.activeElement;
    box.current.showModal();
    (box.current.querySelector('[autofocus]') ?? box.current.querySelector('button, input'))?.focus();
    return () => before?.focus?.();
  }, [now]);
  if (!now) return null;
  const close = (value) => { open.set(null); now.resolve(value); };
  return html`<dialog ref=${box} aria-modal="true" onCancel=${(event) => { event.preventDefault(); close(null); }} onClick=${(event) => { if (event.target === box.current) close(null); }}>
    <div class="dialog">${now.draw(close)}</div>
  </dialog>`;
}

// ---- a menu behind a button

export function Menu({ label, icon = 'more', items }) {
  const [shown, setShown] = useState(false);
  const root = useRef(null);
  useEffect(() => {
    if (!shown) return undefined;
    const away = (event) => { if (!root.current?.contains(event.target)) setShown(false); };
    document.addEventListener('pointerdown', away);
    root.current.querySelector('[role=menuitem]')?.focus();
    return () => document.removeEventListener('pointerdown', away);
  }, [shown]);
  const key = (event) => {
    const all = [...root.current.querySelectorAll('[role=menuitem]')];
    const at = all.indexOf(document.activeElement);
    if (event.key === 'Escape') { setShown(false); root.current.querySelector('button').focus(); event.stopPropagation(); }
    else if (event.key === 'ArrowDown') all[(at + 1) % all.length]?.focus();
    else if (event.key === 'ArrowUp') all[(at - 1 + all.length) % all.length]?.focus();
    else return;
    event.preventDefault();
  };
  return html`<div class="menu" ref=${root} onKeyDown=${shown ? key : undefined}>
    <${Button} kind="quiet" icon=${icon} label=${label} aria-haspopup="menu" aria-expanded=${shown} onClick=${() => setShown(!shown)} />
    ${shown && html`<div role="menu" class="menu-list">${items.filter(Boolean).map((item) => html`
      <button type="button" role="menuitem" class=${item.kind} key=${item.words} onClick=${() => { setShown(false); item.act(); }}>${item.icon && html`<${Icon} name=${item.icon} size=${15} />`}${item.words}</button>`)}</div>`}
  </div>`;
}

// ---- texts and values

/** Characters that change what a text means without being seen. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu;

/** A text whose invisible characters are shown by their numbers. */
export function Visible({ text }) {
  const out = [];
  let at = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match[0] === '\n' || match[0] === '\t') continue;
    if (match.index > at) out.push(text.slice(at, match.index));
    const code = `U+${match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
    out.push(html`<span class="hidden-char" title=${t('hidden.char')}>${code}</span>`);
    at = match.index + match[0].length;
  }
  if (at < text.length) out.push(text.slice(at));
  return out.length === 0 ? text : out;
}

/** A sentence of the server's, in which backticks mark what is literal. */
export function Ticks({ text }) {
  return String(text ?? '').split(/(`[^`]+`)/).map((part) => (part.length > 2 && part.startsWith('`') && part.endsWith('`') ? html`<code><${Visible} text=${part.slice(1, -1)} /></code>` : html`<${Visible} text=${part} />`));
}

const TEXT_SHOWN = 4_000;

/** A JSON value, readable, in full behind a button where it is long. */
export function Json({ value, label }) {
  const [whole, setWhole] = useState(false);
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2) ?? '–';
  const cut = !whole && text.length > TEXT_SHOWN;
  return html`<div class="json">
    <pre tabindex="0" aria-label=${label}><${Visible} text=${cut ? text.slice(0, TEXT_SHOWN) : text} />${cut && '…'}</pre>
    <div class="json-tools"><${CopyButton} text=${text} />${cut && html`<${Button} small kind="quiet" onClick=${() => setWhole(true)}>${t('show.all')}</${Button}>`}</div>
  </div>`;
}

/** Arguments or fields, one a line; texts as they are read. */
export function Fields({ value, label }) {
  if (value === null || value === undefined) return html`<p class="muted">${t('erased')}</p>`;
  if (typeof value !== 'object' || Array.isArray(value)) return html`<${Json} value=${value} label=${label} />`;
  const entries = Object.entries(value);
  if (!entries.length) return html`<p class="muted">${t('args.none')}</p>`;
  return html`<dl class="fields">${entries.map(([name, one]) => html`<div key=${name}>
    <dt><${Visible} text=${name} /></dt>
    <dd>${typeof one === 'string' ? html`<pre tabindex="0" class=${one.includes('\n') ? 'block' : ''}><${Visible} text=${one} /></pre>` : html`<pre tabindex="0"><${Visible} text=${JSON.stringify(one, null, 1) ?? ''} /></pre>`}</dd>
  </div>`)}</dl>`;
}

export function Time({ ms, full }) {
  if (!ms) return null;
  const today = new Date(ms).toDateString() === new Date().toDateString();
  return html`<time datetime=${new Date(ms).toISOString()} title=${moment(ms)}>${full ? moment(ms) : today ? clock(ms) : day(ms)}</time>`;
}

/** Seconds since a moment by the server's clock, from the second one on. */
export function Elapsed({ since }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => { const tick = setInterval(() => setNow(Date.now()), 1000); return () => clearInterval(tick); }, []);
  const seconds = Math.floor((now - since) / 1000);
  return since && seconds > 0 ? html`<span class="muted ms" aria-hidden="true">${span(seconds * 1000)}</span>` : null;
}

export const Badge = ({ kind = 'plain', children, title }) => html`<span class=${`badge ${kind}`} title=${title}>${children}</span>`;

export const Labels = ({ labels }) => html`<span class="labels">${[labels.integrity, labels.confidentiality].filter(Boolean).map((one) => html`<${Badge} kind=${one === 'untrusted' || one === 'secret' ? 'warn' : 'plain'}>${tOr(`label.${one}`, one)}</${Badge}>`)}</span>`;

export const Loading = () => html`<div class="loading" role="status"><span class="spinner" aria-hidden="true"></span>${t('loading')}</div>`;

export const Empty = ({ icon, title, children }) => html`<div class="empty"><${Icon} name=${icon} size=${30} /><h2>${title}</h2>${children}</div>`;

/** Files or tools that are not served, with why and what to do. */
export const NotServed = ({ problems }) => (problems ?? []).map((one) => html`<div key=${one.file} class="failure" role="alert"><p><strong>${one.file}</strong> ${t('tools.notserved')}: <${Ticks} text=${one.why} /></p>${one.help && html`<p class="muted"><${Ticks} text=${one.help} /></p>`}</div>`);

/** The code of an error, which opens its page. */
export const CodeLink = ({ code }) => (code ? html`<a class="code-link" href=${`#/errors/${code}`}>${code}</a>` : null);

/** An error with what to do. */
export function Failure({ error, again }) {
  return html`<div class="failure" role="alert">
    <p><${Icon} name="warning" size=${16} /> <${CodeLink} code=${error.code} /> <span><${Ticks} text=${explain(error)} /></span></p>
    ${error.help && html`<p class="muted"><${Ticks} text=${error.help} /></p>`}
    ${again && html`<${Button} small icon="refresh" onClick=${again}>${t('again')}</${Button}>`}
  </div>`;
}

/** Loads something and draws it, with its states of waiting and failing. */
export function useLoaded(load, on = []) {
  const [state, setState] = useState({ value: null, error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let gone = false;
    setState((before) => ({ ...before, error: null }));
    load().then((value) => { if (!gone) setState({ value, error: null }); }, (error) => { if (!gone) setState((before) => ({ ...before, error })); });
    return () => { gone = true; };
  }, [...on, turn]);
  return { ...state, again: () => setTurn((n) => n + 1) };
}
export const useGot = (path) => useLoaded(() => get(path), [path]);

/** A page with its heading. */
export function Page({ title, about, actions, wide, children }) {
  const heading = useRef(null);
  useEffect(() => { heading.current?.focus({ preventScroll: true }); document.title = `${title} · ARE`; }, [title]);
  return html`<div class="page-scroll" tabindex="0"><div class=${names('page', wide && 'wide')}>
    <header class="page-head"><div><h1 tabindex="-1" ref=${heading}>${title}</h1>${about && html`<p class="muted"><${Ticks} text=${about} /></p>`}</div><div class="row">${actions}</div></header>
    ${children}
  </div></div>`;
}

/** Does something, says when it fails, and tells whether it is busy. */
export function useAct() {
  const [busy, setBusy] = useState(false);
  const act = async (work, done) => {
    setBusy(true);
    try { const value = await work(); if (done) say(done, 'good'); return value ?? true; } catch (error) { fail(error); return undefined; } finally { setBusy(false); }
  };
  return [busy, act];
}

export const Search = ({ value, set, label }) => html`<label class="search"><${Icon} name="search" size=${15} /><input type="search" aria-label=${label} placeholder=${label} value=${value} onInput=${(event) => set(event.target.value)} /></label>`;

/** A hash or id, cut but copied whole. */
export const Digest = ({ value }) => html`<span class="digest"><code title=${value}>${String(value).slice(0, 12)}…</code><${CopyButton} text=${value} /></span>`;
