// One turn: what was said, what was done, what was answered.
import { Component, html, names, useState } from './view.js';
import { answerOf } from './fold.js';
import { Call } from './call.js';
import { addressOf } from './image.js';
import { Markdown } from './markdown.js';
import { Badge, Button, CodeLink, CopyButton, Elapsed, Icon, Ticks, Time, Visible, prompt } from './parts.js';
import { bytes, number, span, t, tOr } from './words.js';
import { may } from './api.js';

/** Drawn again only when something happened in it, so that a long conversation costs no more than its last turn. */
export class Turn extends Component {
  shouldComponentUpdate(next) {
    return next.rev !== this.props.rev || next.turn !== this.props.turn || next.tongue !== this.props.tongue || next.conversation !== this.props.conversation;
  }
  render(props) { return html`<${Drawn} ...${props} />`; }
}

function Drawn({ turn, conversation, onFork, onChanges }) {
  const answer = (approval, decision) => conversation.approve(approval, decision);
  const isOpen = !turn.endedAt;
  return html`<article class="turn" id=${`turn-${turn.number}`} aria-label=${t('turn.number', { n: turn.number })}>
    <${Said} turn=${turn} />
    <div class="answer">
      ${turn.items.map((item, at) => html`<${Item} key=${at} item=${item} session=${conversation.key} last=${isOpen && at === turn.items.length - 1} answer=${answer} />`)}
      ${isOpen && !turn.items.length && turn.state === 'running' && html`<p class="thinking"><span class="spinner" aria-hidden="true"></span>${t('turn.thinking')} <${Elapsed} since=${turn.startedAt} /></p>`}
      <${Ending} turn=${turn} />
      ${turn.endedAt && html`<${Foot} ...${{ turn, conversation, onFork, onChanges }} />`}
    </div>
  </article>`;
}

function Said({ turn }) {
  if (turn.undoes) return html`<p class="note"><${Icon} name="undo" size=${15} /> ${t('turn.undoes', { n: turn.undoes })}</p>`;
  if (turn.compacts) return html`<p class="note"><${Icon} name="file" size=${15} /> ${t('session.compact')}</p>`;
  if (turn.content === null && !turn.startedAt) return null;
  if (turn.content === null) return html`<div class="said"><p class="muted">${t('erased')}</p></div>`;
  return html`<div class="said">
    ${turn.integrity === 'untrusted' && html`<${Badge} kind="warn">${t('label.untrusted')}</${Badge}>`}
    <${Parts} content=${turn.content} />
  </div>`;
}

/** What a client says was said before or since, one message a line. */
const exchanged = (messages) => messages.map((one) => `${one.role}: ${[one.text, ...(one.calls ?? []).map((call) => `→ ${call.name} ${call.arguments}`)].filter(Boolean).join(' ')}`).join('\n');

/** Content as it was sent: words, and files and earlier messages that open. */
export function Parts({ content }) {
  return (content ?? []).map((part, at) => (part.type === 'text'
    ? html`<p key=${at} class="words">${part.text}</p>`
    : part.type === 'exchange'
    ? html`<details key=${at} class="attached"><summary>${t('label.untrusted')} <span class="muted">${part.messages.length}</span></summary><pre tabindex="0"><${Visible} text=${exchanged(part.messages).slice(0, 20_000)} /></pre></details>`
    : part.type === 'image'
    ? html`<${Shown} key=${at} part=${part} />`
    : html`<details key=${at} class="attached"><summary><${Icon} name="file" size=${15} /> ${part.name || t('file')} <span class="muted">${part.media_type} · ${bytes(String(part.data ?? part.text ?? '').length)}</span></summary><pre tabindex="0"><${Visible} text=${String(part.data ?? part.text ?? '').slice(0, 20_000)} /></pre></details>`));
}

/** An image that was shown to the model; it opens to its own size. */
function Shown({ part }) {
  const [open, setOpen] = useState(false);
  const address = addressOf(part);
  return html`<button type="button" class=${names('shown', open && 'whole')} aria-expanded=${open} aria-label=${`${open ? t('close') : t('open')} ${part.media_type}`} onClick=${() => setOpen(!open)}>
    ${address && html`<img src=${address} alt="" />`}</button>`;
}

function Item({ item, session, last, answer }) {
  if (item.kind === 'text') return html`<div class=${names('text', last && 'streaming')}><${Markdown} text=${item.text} /></div>`;
  if (item.kind === 'reasoning') return html`<${Reasoning} item=${item} last=${last} />`;
  if (item.kind === 'call') return html`<${Call} call=${item} session=${session} answer=${answer} />`;
  if (item.kind === 'steered') return html`<div class="said steered"><span class="muted small">${t('turn.steered')}</span><${Parts} content=${item.content} /></div>`;
  return html`<${Note} event=${item.event} />`;
}

function Reasoning({ item, last }) {
  return html`<details class="reasoning"><summary><${Icon} name="clock" size=${15} /> ${last ? t('reasoning.now') : t('reasoning')}</summary><div class="reasoning-text">${item.text}</div></details>`;
}

const why = (event) => event.error?.message ?? event.error?.code ?? t('erased');

const NOTES = {
  context_trimmed: (event) => t('note.trimmed', { turns: event.turns, calls: event.calls, tokens: number(event.tokens) }),
  results_shortened: (event) => t('note.shortened', { n: number(event.results) }),
  compaction_requested: (event) => t('note.compacting', { n: event.until }),
  compacted: (event) => t('note.compacted', { n: event.until }),
  compaction_failed: (event) => t('note.compact.failed', { why: why(event) }),
  compaction_undone: () => t('note.compact.undone'),
  limit_reached: (event) => (event.waits
    ? t('note.limit.waits', { time: span(event.retry_after_ms), limit: event.limit })
    : t('note.limit', { limit: event.limit, used: number(event.used), max: number(event.max) })),
  limit_lifted: () => t('note.lifted'),
  model_failed: (event) => t('note.failed', { model: event.model, why: why(event) }),
  model_restarted: (event) => t('note.restarted', { n: event.attempt }),
  turn_resumed: (event) => t('note.resumed', { time: span(event.gap_ms) }),
  turn_parked: () => t('note.parked'),
  variable_set: (event) => t(event.value === null ? 'note.variable.gone' : 'note.variable', { name: event.name ?? t('erased') }),
  memory_added: () => t('note.memory'),
  planned: (event) => t('note.plan', { what: event.tools?.join(', ') || (event.error?.code ?? '–') }),
  strategy: (event) => t('note.strategy', { what: [event.model, event.effort, event.temperature].filter((one) => one != null).join(', ') }),
  firewall: (event) => t('note.firewall', { verdict: tOr(`verdict.${event.verdict}`, event.verdict ?? '') }),
  guide_read: (event) => t(event.text === null ? 'note.guide.gone' : 'note.guide'),
};

/** Something that happened beside words and calls; it opens to what is known. */
function Note({ event }) {
  const { type, turn: _turn, seq: _seq, at_ms: _at, ...rest } = event;
  const reasons = event.reasons?.length ? ` — ${event.reasons.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join('; ')}` : '';
  const words = NOTES[type]?.(event) ?? type.replaceAll('_', ' ');
  // A summary, a memory, a guide: what it says is what one opens it for.
  const { text = rest.summary, error, ...facts } = rest;
  return html`<details class=${`note ${type}`}><summary><${Visible} text=${words + reasons} />${event.session && html` <a href=${`#/s/${event.session}`}>${t('note.session')}</a>`}</summary>
    ${error?.code && html`<p><${CodeLink} code=${error.code} /> <${Ticks} text=${error.help ?? ''} /></p>`}
    ${typeof text === 'string' ? html`<div class="reasoning-text"><${Visible} text=${text} /></div>` : html`<pre tabindex="0"><${Visible} text=${JSON.stringify(error ? facts : rest, null, 2)} /></pre>`}
  </details>`;
}

function Ending({ turn }) {
  if (turn.state === 'failed') return html`<div class="failure" role="alert"><p><${Icon} name="warning" size=${16} /> <${CodeLink} code=${turn.error?.code} /> <${Ticks} text=${turn.error?.message ?? t('erased')} /></p>${turn.error?.help && html`<p class="muted"><${Ticks} text=${turn.error.help} /></p>`}</div>`;
  if (turn.state === 'cancelled') return html`<p class="note"><${Icon} name="stop" size=${14} /> ${t('turn.cancelled')}</p>`;
  if (turn.endedAt && turn.stop && !['stop', 'end', 'end_turn'].includes(turn.stop)) return html`<p class="note">${tOr(`stop.${turn.stop}`, turn.stop.replaceAll('_', ' '))}</p>`;
  return null;
}

/** How the model was asked: as the turn's last strategy says, else as was wished for. */
function asked({ strategy, effort, temperature }) {
  const { effort: level, temperature: heat } = strategy ?? { effort, temperature };
  return [level, heat == null ? null : `T ${heat}`];
}

function Foot({ turn, conversation, onFork, onChanges }) {
  const [busy, setBusy] = useState(false);
  const rate = async (rating, note) => {
    setBusy(true);
    try { await conversation.rate(turn.number, rating, note); } catch { /* The socket says so. */ } finally { setBusy(false); }
  };
  const note = async () => {
    const text = await prompt(t('rate.note'), t('rate.note.label'), turn.rating?.note ?? '');
    if (text) rate(null, text);
  };
  const { rating } = turn.rating ?? {};
  const has = may('prompt');
  return html`<footer class="foot">
    <${CopyButton} text=${answerOf(turn)} label=${t('turn.copy')} />
    ${has && html`<${Button} small kind="quiet" icon="up" label=${t('rate.up')} aria-pressed=${rating === 'up'} disabled=${busy} onClick=${() => rate('up')} />
    <${Button} small kind="quiet" icon="thumbdown" label=${t('rate.down')} aria-pressed=${rating === 'down'} disabled=${busy} onClick=${() => rate('down')} />
    <${Button} small kind="quiet" icon="chat" label=${t('rate.note')} aria-pressed=${Boolean(turn.rating?.note)} disabled=${busy} onClick=${note} />
    <${Button} small kind="quiet" icon="fork" label=${t('session.fork.here')} onClick=${() => onFork(turn.number)} />`}
    ${turn.calls.length > 0 && html`<${Button} small kind="quiet" icon="undo" label=${t('changes.of', { n: turn.number })} onClick=${() => onChanges(turn.number)} />`}
    <span class="muted small">${[turn.model, ...asked(turn)].filter(Boolean).map((one) => `${one} · `).join('')}${turn.startedAt ? span(turn.endedAt - turn.startedAt) : ''}${turn.usage.output ? ` · ${t('tokens.out', { n: number(turn.usage.output) })}` : ''} · <${Time} ms=${turn.endedAt} /></span>
  </footer>
  ${turn.rating?.note && html`<p class="note"><${Icon} name="chat" size=${14} /> <${Visible} text=${turn.rating.note} /></p>`}`;
}
