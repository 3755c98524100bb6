// The tools that are served, what each declares, and trying one out.
import { html, useState } from '../view.js';
import { call, get, may, part } from '../api.js';
import { SchemaForm } from '../form.js';
import { Badge, Button, Digest, Failure, Fields, Json, Loading, NotServed, Page, Search, Ticks, confirm, say, useAct, useGot, useLoaded } from '../parts.js';
import { number, t, tOr } from '../words.js';
import { go } from '../router.js';
import { sessions } from '../sessions.js';

/** Bytes of a file that the server takes. */
const FILE_BYTES_MAX = 32 << 20;

export function Tools({ name }) {
  const { value, error, again } = useGot('/api/tools');
  const [words, setWords] = useState('');
  const [lane, setLane] = useState('');
  const [busy, act] = useAct();
  if (name) return html`<${Tool} key=${name} name=${name} />`;
  const reload = () => act(async () => { await call('POST', '/api/registry/reload'); again(); }, t('done'));
  const all = value?.tools ?? [];
  const lanes = [...new Set(all.map((tool) => tool.lane))];
  const found = all.filter((tool) => (!lane || tool.lane === lane) && `${tool.name} ${tool.description}`.toLowerCase().includes(words.toLowerCase()));
  return html`<${Page} title=${t('tools')} about=${t('tools.about')} wide
      actions=${may('admin') && html`<${Button} icon="refresh" busy=${busy} onClick=${reload}>${t('reload')}</${Button}><${Add} again=${again} />`}>
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!value && !error && html`<${Loading} />`}
    <${NotServed} problems=${value?.problems} />
    ${value && html`<div class="row wrap bar"><${Search} value=${words} set=${setWords} label=${t('tools.search')} />
      <select aria-label=${t('tools.lane')} value=${lane} onChange=${(event) => setLane(event.target.value)}><option value="">${t('tools.lanes')}</option>${lanes.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select>
      <span class="muted small">${t('tools.count', { n: number(found.length) })}</span></div>
    <ul class="list">${found.map((tool) => html`<li key=${tool.name}><a href=${`#/tools/${part(tool.name)}`}><code class="name">${tool.name}</code><span class="gist"><${Ticks} text=${tool.description} /></span><${Effect} effect=${tool.effect} /><${Badge}>${tool.lane}</${Badge}></a></li>`)}</ul>`}
  </${Page}>`;
}

const DANGEROUS = ['destructive', 'send', 'share', 'financial', 'credential'];
export const Effect = ({ effect }) => html`<${Badge} kind=${effect === 'none' ? 'good' : DANGEROUS.includes(effect) ? 'bad' : 'warn'}>${tOr(`effect.${effect}`, effect)}</${Badge}>`;

function Add({ again }) {
  const [busy, act] = useAct();
  const take = async (event) => {
    const files = [...event.target.files];
    event.target.value = '';
    const file = files.find((one) => !one.name.endsWith('.toml')) ?? files[0];
    if (!file) return;
    if (file.size > FILE_BYTES_MAX) { say(t('file.large', { name: file.name, max: '32 MiB' }), 'bad'); return; }
    const beside = files.find((one) => one !== file && one.name.endsWith('.toml'));
    const bytes = new Uint8Array(await file.arrayBuffer());
    let binary = '';
    for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    const wish = { name: file.name, content: btoa(binary), ...(beside ? { manifest: await beside.text() } : {}) };
    await act(async () => {
      try { return await call('POST', '/api/tools', wish); } catch (error) {
        if (error.code !== 'ARE-0530') throw error;
        if (!await confirm(t('tools.replace'), html`<pre tabindex="0">${error.message}</pre>`, t('replace'))) return null;
        return call('POST', '/api/tools', { ...wish, replace: true });
      }
    }, null);
    again();
  };
  return html`<label class="button main"><input type="file" multiple class="visually-hidden" disabled=${busy} onChange=${take} />${t('tools.add')}</label>`;
}

function Tool({ name }) {
  const { value, error, again } = useLoaded(() => get(`/api/tools/${part(name)}`), [name]);
  const [busy, act] = useAct();
  const remove = async () => {
    if (await confirm(t('tools.remove'), t('tools.remove.text', { file: value.file }), t('remove')) && await act(() => call('DELETE', `/api/tools/${part(name)}`))) go('/tools');
  };
  if (error) return html`<${Page} title=${name}><${Failure} error=${error} again=${again} /></${Page}>`;
  if (!value) return html`<${Page} title=${name}><${Loading} /></${Page}>`;
  const { manifest } = value;
  return html`<${Page} title=${name} about=${manifest.description} wide actions=${html`<a class="button plain" href="#/tools">${t('tools.all')}</a>${may('admin') && value.file && html`<${Button} kind="danger" icon="trash" busy=${busy} onClick=${remove}>${t('remove')}</${Button}>`}`}>
    <div class="two-columns"><section><h2>${t('tools.manifest')}</h2><dl class="pairs">
      <dt>${t('effect')}</dt><dd><${Effect} effect=${manifest.effect} />${manifest.effect_by && html` <span class="muted small">${t('tools.effectby', { arg: manifest.effect_by.arg })}</span>`}</dd>
      <dt>${t('retry')}</dt><dd>${tOr(`retry.${manifest.retry}`, manifest.retry)}</dd>
      <dt>${t('tools.lane')}</dt><dd>${manifest.lane}</dd>
      <dt>${t('file')}</dt><dd>${value.file ?? t('tools.builtin')}</dd>
      <dt>${t('digest')}</dt><dd><${Digest} value=${value.digest} /></dd>
      ${Object.keys(manifest.args ?? {}).length > 0 && html`<dt>${t('call.args')}</dt><dd>${Object.entries(manifest.args).map(([arg, rule]) => html`<div key=${arg}><code>${arg}</code> ${tOr(`role.${rule.role}`, rule.role)}</div>`)}</dd>`}
      ${manifest.output_default && html`<dt>${t('tools.output')}</dt><dd>${Object.values(manifest.output_default).map((one) => html`<${Badge} key=${one}>${tOr(`label.${one}`, String(one))}</${Badge}>`)}</dd>`}
    </dl>
    <details><summary>${t('tools.schema')}</summary><${Json} value=${manifest.schema} /></details>
    <details><summary>${t('tools.whole')}</summary><${Json} value=${manifest} /></details></section>
    <section><h2>${t('tools.try')}</h2>${may('prompt') ? html`<${Try} manifest=${manifest} />` : html`<p class="muted">${t('tools.try.cannot')}</p>`}</section></div>
  </${Page}>`;
}

function Try({ manifest }) {
  const [state, setState] = useState({});
  const done = async (args) => {
    setState({ busy: true });
    try { const result = await call('POST', `/api/tools/${part(manifest.name)}/call`, { args }); sessions.refresh(); setState({ result }); } catch (error) { setState({ error }); }
  };
  const { result, error, busy } = state;
  return html`<p class="muted">${t('tools.try.text')}</p>
    <${SchemaForm} schema=${manifest.schema} yes=${t('tools.call')} busy=${busy} done=${done} example=${manifest.example?.args} />
    ${busy && html`<${Loading} />`}
    ${error && html`<${Failure} error=${error} />`}
    ${result && html`<div class="card good" role="status"><h3>${t('call.result')}</h3>${typeof result.result === 'object' && result.result && !Array.isArray(result.result) ? html`<${Fields} value=${result.result} />` : html`<${Json} value=${result.result} />`}<p class="small"><a href=${`#/s/${result.session}`}>${t('tools.session')}</a></p></div>`}`;
}
