// A session's journal as it is: its events one by one, replay and export.
import { html, useMemo, useState } from '../view.js';
import { call, has, part, request, save } from '../api.js';
import { Badge, Button, CodeLink, Digest, Empty, Icon, Search, Visible, useAct } from '../parts.js';
import { moment, number, t } from '../words.js';

/** Events drawn at once; more behind a button. */
const SHOWN = 300;

export function Journal({ session, fold }) {
  const [words, setWords] = useState('');
  const [shown, setShown] = useState(SHOWN);
  const [report, setReport] = useState(null);
  const [busy, act] = useAct();
  const all = useMemo(() => joined(fold.raw), [fold.raw.length, fold.seq]);
  const found = words ? all.filter((event) => JSON.stringify(event).toLowerCase().includes(words.toLowerCase())) : all;
  const replay = () => act(async () => setReport(await call('POST', `/api/sessions/${part(session)}/replay`, {})));
  const store = () => act(async () => save(`${session}.jsonl`, await (await request('GET', `/api/sessions/${part(session)}/export`)).blob()));
  if (!all.length) return html`<${Empty} icon="log" title=${t('journal.none')} />`;
  return html`<div class="page-scroll" tabindex="0"><div class="page wide">
    <div class="row wrap bar"><${Search} value=${words} set=${setWords} label=${t('journal.search')} /><span class="muted small">${t('journal.count', { n: number(fold.seq) })}</span><span class="spacer"></span>
      <${Button} icon="play" busy=${busy} onClick=${replay}>${t('replay')}</${Button}><${Button} icon="save" busy=${busy} onClick=${store}>${t('export')}</${Button}></div>
    ${report && html`<${Report} report=${report} />`}
    <ol class="events">${found.slice(0, shown).map((event) => html`<li key=${event.seq}><details>
      <summary><span class="seq">${event.last && event.last !== event.seq ? `${event.seq}–${event.last}` : event.seq}</span><code>${event.type}</code><span class="gist">${gist(event)}</span>${event.turn != null && html`<span class="muted small">${t('turn.number', { n: event.turn })}</span>`}</summary>
      <pre tabindex="0"><${Visible} text=${JSON.stringify(event, null, 2)} /></pre>${event.at_ms && html`<p class="small muted">${moment(event.at_ms)}</p>`}</details></li>`)}</ol>
    ${found.length > shown && html`<${Button} onClick=${() => setShown(shown + SHOWN)}>${t('more')}</${Button}>`}
    ${has('GET /api/audit/checkpoint') && html`<p class="small muted"><a href=${`#/audit/${session}`}>${t('journal.prove')}</a></p>`}
  </div></div>`;
}

function Report({ report }) {
  const { difference } = report;
  return html`<section class=${`card ${difference ? 'bad' : 'good'}`} role="status">
    <h2><${Icon} name=${difference ? 'warning' : 'check'} size=${17} /> ${difference ? t('replay.differs', { seq: difference.seq }) : t('replay.same')}</h2>
    <p class="muted">${t('replay.counts', { records: number(report.records), derived: number(report.derived), only: number(report.verified_only) })}</p>
    <p class="small">${t('replay.head')} <${Digest} value=${report.head} /></p>
    ${difference && html`<p><${Badge} kind="bad">${difference.action}</${Badge}> <${CodeLink} code="ARE-0312" /></p><div class="two"><pre tabindex="0">${difference.recorded}</pre><pre tabindex="0">${difference.regenerated}</pre></div>`}
  </section>`;
}

/** Tokens that follow one another as one row. */
function joined(raw) {
  const out = [];
  for (const event of raw) {
    const last = out.at(-1);
    if (event.type === 'token' && last?.type === 'token') { last.last = event.last; last.text += event.text; } else out.push(event.type === 'token' ? { ...event } : event);
  }
  return out;
}

function gist(event) {
  const { type: _type, turn: _turn, seq: _seq, at_ms: _at, last: _last, ...rest } = event;
  return (event.text ?? JSON.stringify(rest)).replace(/\s+/g, ' ').slice(0, 140);
}
