// Secrets: their names and where they may go. Values go in and never come out.
import { html, useState } from '../view.js';
import { call, may, part } from '../api.js';
import { Badge, Button, Empty, Failure, Loading, Page, Time, ask, confirm, useAct, useGot } from '../parts.js';
import { t } from '../words.js';

export function Secrets() {
  const { value, error, again } = useGot('/api/secrets');
  const [busy, act] = useAct();
  const set = async (name = '') => { if (await ask((close) => html`<${Set} name=${name} close=${close} />`)) again(); };
  const drop = async (one) => { if (await confirm(t('secrets.delete', { name: one.name }), t('secrets.delete.text'), t('delete')) && await act(() => call('DELETE', `/api/secrets/${part(one.name)}`).then(() => true))) again(); };
  const rotate = async () => { if (await confirm(t('secrets.rotate'), t('secrets.rotate.text'), t('secrets.rotate'), 'main') && await act(() => call('POST', '/api/secrets/rotate-key', {}), t('done'))) again(); };
  return html`<${Page} title=${t('secrets')} about=${t('secrets.about')} wide actions=${html`${may('admin') && html`<${Button} icon="key" busy=${busy} onClick=${rotate}>${t('secrets.rotate')}</${Button}>`}${may('approve') && html`<${Button} kind="main" icon="plus" onClick=${() => set()}>${t('secrets.new')}</${Button}>`}`}>
    ${error && html`<${Failure} error=${error} again=${again} />`}${!value && !error && html`<${Loading} />`}
    ${value && !value.secrets.length && html`<${Empty} icon="key" title=${t('secrets.none')}><p class="muted">${t('secrets.none.text')}</p></${Empty}>`}
    ${value?.secrets.length > 0 && html`<div class="table-box" tabindex="0" role="group" aria-label=${t('md.table')}><table><thead><tr><th scope="col">${t('name')}</th><th scope="col">${t('secrets.hosts')}</th><th scope="col">${t('tools')}</th><th scope="col">${t('secrets.changed')}</th><th scope="col"><span class="visually-hidden">${t('actions')}</span></th></tr></thead><tbody>${value.secrets.map((one) => html`<tr key=${one.name}><td><code>${one.name}</code> ${!one.is_readable && html`<${Badge} kind="bad">${t('secrets.unreadable')}</${Badge}>`}</td><td>${one.hosts.join(', ') || '–'}</td><td>${one.tools.join(', ') || '–'}</td><td><${Time} ms=${one.updated_at_ms} /></td>
      <td class="end">${may('approve') && html`<${Button} small onClick=${() => set(one.name)}>${t('secrets.set')}</${Button}> <${Button} small kind="quiet" icon="trash" label=${t('secrets.delete', { name: one.name })} busy=${busy} onClick=${() => drop(one)} />`}</td></tr>`)}</tbody></table></div>`}
  </${Page}>`;
}

function Set({ name: first, close }) {
  const [name, setName] = useState(first);
  const [value, setValue] = useState('');
  const [hosts, setHosts] = useState('');
  const [tools, setTools] = useState('');
  const [busy, act] = useAct();
  const list = (text) => text.split(/[\s,]+/).filter(Boolean);
  const submit = async (event) => { event.preventDefault(); if (await act(() => call('PUT', `/api/secrets/${part(name)}`, { value, hosts: list(hosts), tools: list(tools) }).then(() => true), t('saved'))) close(true); };
  return html`<form onSubmit=${submit} autocomplete="off"><h2>${first ? t('secrets.set') : t('secrets.new')}</h2>
    <label class="field"><span>${t('name')}</span><input required autofocus=${!first} readonly=${Boolean(first)} value=${name} onInput=${(event) => setName(event.target.value)} /></label>
    <label class="field"><span>${t('variables.value')}</span><input type="password" required minlength="8" autofocus=${Boolean(first)} autocomplete="off" value=${value} onInput=${(event) => setValue(event.target.value)} /></label>
    <label class="field"><span>${t('secrets.hosts')} <small>${t('secrets.hosts.hint')}</small></span><input value=${hosts} onInput=${(event) => setHosts(event.target.value)} /></label>
    <label class="field"><span>${t('tools')}</span><input value=${tools} onInput=${(event) => setTools(event.target.value)} /></label>
    <div class="row end"><${Button} onClick=${() => close(false)}>${t('cancel')}</${Button}><${Button} kind="main" type="submit" busy=${busy}>${t('save')}</${Button}></div></form>`;
}
