// What turns changed in the workspace, and putting it back.
import { html, useState } from '../view.js';
import { call, get, may, part } from '../api.js';
import { Badge, Button, Empty, Failure, Icon, Loading, Visible, confirm, say, useAct, useLoaded } from '../parts.js';
import { bytes, t, tOr } from '../words.js';

/** Turns that are open at first. */
const OPEN = 3;

export function Changes({ session, fold, turn }) {
  const touches = (one) => one.undoes || one.calls.some((call) => call.effect && call.effect !== 'none' && call.effect !== 'network_read');
  const numbers = fold.turns.filter(touches).map((one) => one.number).reverse();
  const chosen = turn ? Number(turn) : null;
  if (!numbers.length) return html`<${Empty} icon="undo" title=${t('changes.none')}><p class="muted">${t('changes.none.text')}</p></${Empty}>`;
  return html`<div class="page-scroll" tabindex="0"><div class="page wide">${numbers.map((number) => html`<${Of} key=${number} session=${session} number=${number} fold=${fold} first=${chosen === number || (chosen === null && numbers.indexOf(number) < OPEN)} />`)}</div></div>`;
}

function Of({ session, number, fold, first }) {
  const [open, setOpen] = useState(first);
  const turn = fold.byTurn.get(number);
  return html`<section class="change">
    <button type="button" class="fold-head" aria-expanded=${open} onClick=${() => setOpen(!open)}><${Icon} name=${open ? 'down' : 'right'} size=${16} /><h2>${t('turn.number', { n: number })}</h2>${turn?.undoes && html`<${Badge}>${t('turn.undoes', { n: turn.undoes })}</${Badge}>`}</button>
    ${open && html`<${Diff} session=${session} number=${number} />`}
  </section>`;
}

function Diff({ session, number }) {
  const { value, error, again } = useLoaded(() => get(`/api/sessions/${part(session)}/diff?turn=${number}`), [session, number]);
  const [busy, act] = useAct();
  const undo = async () => {
    const wish = (dry_run) => call('POST', `/api/sessions/${part(session)}/undo`, { turn: number, dry_run });
    const would = await act(() => wish(true));
    if (!would) return;
    if (!would.paths.length) { say(t('undo.nothing')); return; }
    const list = html`<p>${t('undo.text')}</p><ul class="paths">${would.paths.map((path) => html`<li key=${path}><code><${Visible} text=${path} /></code></li>`)}</ul>`;
    if (await confirm(t('undo.title', { n: number }), list, t('undo'), 'main')) { if (await act(() => wish(false), t('undo.done'))) again(); }
  };
  if (error) return html`<${Failure} error=${error} again=${again} />`;
  if (!value) return html`<${Loading} />`;
  const apart = value.apart?.length > 0 && html`<p class="muted">${t('changes.apart')} ${value.apart.map((key) => html`<a key=${key} href=${`#/s/${key}/changes`}><code>${key.slice(0, 8)}</code></a> `)}</p>`;
  if (!value.files.length) return html`<p class="muted">${t('changes.nothing')}</p>${apart}`;
  return html`<div>
    ${may('prompt') && html`<div class="row end"><${Button} small icon="undo" busy=${busy} onClick=${undo}>${t('undo.turn')}</${Button}></div>`}
    ${apart}${value.files.map((file) => html`<${File} key=${file.path} file=${file} />`)}
  </div>`;
}

function File({ file }) {
  const kind = !file.before ? 'created' : !file.after ? 'deleted' : file.from ? 'moved' : 'changed';
  return html`<figure class="diff">
    <figcaption><code><${Visible} text=${`${file.from ? `${file.from} → ` : ''}${file.path}`} /></code> <${Badge} kind=${{ created: 'good', deleted: 'bad' }[kind] ?? 'plain'}>${t(`changes.${kind}`)}</${Badge}>
      ${!file.is_restorable && html`<${Badge} kind="warn" title=${tOr(`lost.${file.reason}`, file.reason)}>${t('changes.lost')}</${Badge}>`}
      ${!file.is_certain && html`<${Badge} kind="warn">${t('changes.uncertain')}</${Badge}>`}
      <span class="muted small">${file.before?.bytes != null ? bytes(file.before.bytes) : '–'} → ${file.after?.bytes != null ? bytes(file.after.bytes) : '–'}</span></figcaption>
    ${file.diff ? html`<pre tabindex="0" aria-label=${file.path}>${file.diff.split('\n').map((line, at) => html`<span key=${at} class=${/^(\+\+\+|---)/.test(line) ? 'head' : line[0] === '+' ? 'plus' : line[0] === '-' ? 'minus' : line.startsWith('@@') ? 'hunk' : ''}><${Visible} text=${`${line}\n`} /></span>`)}</pre>` : file.note && html`<p class="muted">${file.note}</p>`}
  </figure>`;
}
