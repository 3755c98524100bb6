// The log of audit: its checkpoint, and proofs that this page checks itself.
import { html, useState } from '../view.js';
import { call, get, may, part, request, save } from '../api.js';
import { isSigned, leafHash, readNote, rootOf } from '../proof.js';
import { Badge, Button, Digest, Failure, Icon, Json, Loading, Page, Time, confirm, useAct, useGot } from '../parts.js';
import { number, t } from '../words.js';

export function Audit({ session }) {
  const { value, error, again } = useGot('/api/audit/checkpoint');
  const [busy, act] = useAct();
  const [report, setReport] = useState(null);
  const verify = () => act(async () => setReport(await get('/api/audit/verify')));
  const store = () => act(async () => save('audit.jsonl', await (await request('GET', '/api/audit/export')).blob()));
  const rotate = async () => { if (await confirm(t('audit.rotate'), t('audit.rotate.text'), t('audit.rotate'), 'main')) { await act(() => call('POST', '/api/audit/rotate-key'), t('done')); again(); } };
  return html`<${Page} title=${t('audit')} about=${t('audit.about')} wide actions=${html`<${Button} icon="check" busy=${busy} onClick=${verify}>${t('audit.verify')}</${Button}><${Button} icon="save" busy=${busy} onClick=${store}>${t('export')}</${Button}>`}>
    ${error && html`<${Failure} error=${error} again=${again} />`}${!value && !error && html`<${Loading} />`}
    ${report && html`<section class="card good" role="status"><h2><${Icon} name="check" size=${17} /> ${t('audit.whole')}</h2><dl class="figures">${['records', 'covered', 'sessions', 'checkpoints', 'payloads', 'erased'].map((one) => html`<div key=${one}><dt>${t(`audit.${one}`)}</dt><dd>${number(report[one])}</dd></div>`)}</dl></section>`}
    ${value && html`<section class="card"><h2>${t('audit.checkpoint')}</h2><dl class="pairs"><dt>${t('audit.origin')}</dt><dd><code>${value.origin}</code></dd><dt>${t('audit.records')}</dt><dd>${number(value.size)}</dd><dt>${t('audit.root')}</dt><dd><${Digest} value=${value.root} /></dd><dt>${t('tokens.col.made')}</dt><dd><${Time} ms=${value.made_at_ms} full /></dd></dl>
      <details><summary>${t('audit.note')}</summary><${Json} value=${value.note} /></details>${may('admin') && html`<${Button} small icon="key" busy=${busy} onClick=${rotate}>${t('audit.rotate')}</${Button}>`}</section>
    <${Prove} session=${session} size=${value.size} />`}
  </${Page}>`;
}

function Prove({ session, size }) {
  const [key, setKey] = useState(session ?? '');
  const [where, setWhere] = useState(session ? '1' : String(Math.max(size - 1, 0)));
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const [busy, act] = useAct();
  const check = (event) => {
    event.preventDefault();
    setFound(null);
    setError(null);
    return act(async () => {
      try { setFound(await prove(key.trim(), where.trim())); } catch (failed) { setError(failed); }
    });
  };
  return html`<section class="card"><h2>${t('audit.prove')}</h2><p class="muted">${t('audit.prove.text')}</p>
    <form class="inline-form" onSubmit=${check}><label class="field grow"><span>${t('session.menu')}</span><input value=${key} placeholder=${t('audit.session.none')} onInput=${(event) => setKey(event.target.value)} /></label><label class="field"><span>${key ? t('audit.seq') : t('audit.leaf')}</span><input required inputmode="numeric" pattern="[0-9]+" value=${where} onInput=${(event) => setWhere(event.target.value)} /></label><${Button} kind="main" type="submit" busy=${busy}>${t('audit.check')}</${Button}></form>
    ${error && html`<${Failure} error=${error} />`}
    ${found && html`<div class=${`card ${found.included ? 'good' : 'bad'}`} role="status"><h3><${Icon} name=${found.included ? 'check' : 'warning'} size=${16} /> ${found.included ? t('audit.included', { leaf: number(found.leaf), size: number(found.size) }) : t('audit.notincluded')}</h3>
      <p>${found.signed === null ? html`<${Badge} kind="warn">${t('audit.signature.unknown')}</${Badge}>` : found.signed ? html`<${Badge} kind="good">${t('audit.signature.good')}</${Badge}>` : html`<${Badge} kind="bad">${t('audit.signature.bad')}</${Badge}>`}</p>
      <details><summary>${t('audit.record')}</summary><${Json} value=${found.record} /></details><details><summary>${t('audit.proof')}</summary><${Json} value=${found.proof} /></details></div>`}
  </section>`;
}

/** Everything is computed here: the leaf from the record's bytes, the root from the leaf, the signature from the note. */
async function prove(key, where) {
  const told = await get(key ? `/api/audit/prove?session=${part(key)}&seq=${part(where)}` : `/api/audit/prove?leaf=${part(where)}`);
  const note = readNote(told.checkpoint);
  const root = await rootOf(await leafHash(told.record), told.leaf, note.size, told.hashes);
  let signed = null;
  try {
    const { vkey, retired } = await get('/api/audit/vkey');
    signed = false;
    for (const one of [vkey, ...retired]) signed ||= await isSigned(told.checkpoint, one);
  } catch { signed = null; }
  return { included: root === note.root, signed, leaf: told.leaf, size: note.size, record: told.record, proof: told.proof };
}
