// Variables of the account: values that prompts and tools name.
import { html, useState } from '../view.js';
import { call, may, part } from '../api.js';
import { Badge, Button, Empty, Failure, Loading, Page, Visible, confirm, useAct, useGot } from '../parts.js';
import { t, tOr } from '../words.js';

export function Variables() {
  const { value, error, again } = useGot('/api/variables');
  const [busy, act] = useAct();
  const [name, setName] = useState('');
  const [text, setText] = useState('');
  const set = async (event) => {
    event.preventDefault();
    let sent = text;
    try { sent = JSON.parse(text); } catch { /* A text as it stands. */ }
    if (await act(() => call('PUT', `/api/variables/${part(name)}`, sent), t('saved'))) { setName(''); setText(''); again(); }
  };
  const drop = async (one) => { if (await confirm(t('variables.delete', { name: one.name }), t('variables.delete.text'), t('delete')) && await act(() => call('DELETE', `/api/variables/${part(one.name)}`).then(() => true))) again(); };
  return html`<${Page} title=${t('variables')} about=${t('variables.about')}>
    ${may('prompt') && html`<form class="inline-form" onSubmit=${set}><label class="field"><span>${t('name')}</span><input required pattern="[A-Za-z0-9_.\\-]+" value=${name} onInput=${(event) => setName(event.target.value)} /></label>
      <label class="field grow"><span>${t('variables.value')}</span><input required value=${text} onInput=${(event) => setText(event.target.value)} /></label><${Button} kind="main" type="submit" busy=${busy}>${t('save')}</${Button}></form>`}
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!value && !error && html`<${Loading} />`}
    ${value && !value.variables.length && html`<${Empty} icon="variable" title=${t('variables.none')}><p class="muted">${t('variables.none.text')}</p></${Empty}>`}
    ${value?.variables.length > 0 && html`<div class="table-box" tabindex="0" role="group" aria-label=${t('md.table')}><table><thead><tr><th scope="col">${t('name')}</th><th scope="col">${t('variables.value')}</th><th scope="col">${t('labels')}</th><th scope="col"><span class="visually-hidden">${t('actions')}</span></th></tr></thead><tbody>${value.variables.map((one) => html`<tr key=${`${one.scope} ${one.name}`}>
      <td><code>${one.name}</code></td><td class="value"><pre tabindex="0"><${Visible} text=${typeof one.value === 'string' ? one.value : JSON.stringify(one.value)} /></pre></td>
      <td>${worst(one.labels).map((label) => html`<${Badge} key=${label} kind=${label === 'untrusted' || label === 'secret' ? 'warn' : 'plain'}>${tOr(`label.${label}`, label)}</${Badge}>`)}</td>
      <td class="end">${may('prompt') && html`<${Button} small kind="quiet" icon="trash" label=${t('variables.delete', { name: one.name })} busy=${busy} onClick=${() => drop(one)} />`}</td></tr>`)}</tbody></table></div>`}
  </${Page}>`;
}

/** The integrities and confidentialities that a value's leaves have. */
function worst(labels) {
  const found = new Set();
  for (const one of Object.values(labels ?? {})) { if (one?.integrity) found.add(one.integrity); if (one?.confidentiality && one.confidentiality !== 'public') found.add(one.confidentiality); }
  return [...found];
}
