// Accounts and tokens.
import { html, useState } from '../view.js';
import { call, may, part, speaker } from '../api.js';
import { Badge, Button, CopyButton, Failure, Loading, Page, Time, ask, confirm, prompt, useAct, useGot } from '../parts.js';
import { t } from '../words.js';

const SCOPES = ['read', 'prompt', 'approve', 'admin', 'delegate'];
const DAY_MS = 86_400_000;

export function Accounts() {
  return html`<${Page} title=${t('accounts')} about=${t('accounts.about')} wide><${Tokens} />${may('admin') && html`<${AccountList} />`}</${Page}>`;
}

function Tokens() {
  const { value, error, again } = useGot('/api/tokens');
  const [busy, act] = useAct();
  const [all, setAll] = useState(false);
  const now = Date.now();
  const make = async () => {
    const made = await ask((close) => html`<${NewToken} close=${close} />`);
    if (made) { again(); await ask((close) => html`<h2>${t('tokens.made')}</h2><p>${t('tokens.made.text')}</p><p class="row secret-shown"><code>${made.token}</code><${CopyButton} text=${made.token} /></p><div class="row end"><${Button} kind="main" autofocus onClick=${() => close()}>${t('done')}</${Button}></div>`); }
  };
  const revoke = async (one) => { if (await confirm(t('tokens.revoke'), t('tokens.revoke.text', { name: one.label || one.id }), t('tokens.revoke')) && await act(() => call('DELETE', `/api/tokens/${part(one.id)}`).then(() => true))) again(); };
  const isGood = (one) => !one.is_revoked && !(one.expires_at_ms && one.expires_at_ms <= now);
  const rows = (value?.tokens ?? []).filter((one) => all || isGood(one));
  return html`<section><div class="row"><h2>${t('tokens')}</h2><span class="spacer"></span><label class="check"><input type="checkbox" checked=${all} onChange=${(event) => setAll(event.target.checked)} /> ${t('tokens.old')}</label><${Button} kind="main" icon="plus" onClick=${make}>${t('tokens.new')}</${Button}></div>
    ${error && html`<${Failure} error=${error} again=${again} />`}${!value && !error && html`<${Loading} />`}
    ${value && (rows.length ? html`<div class="table-box" tabindex="0" role="group" aria-label=${t('md.table')}><table><thead><tr>${['name', 'account', 'tokens.col.scopes', 'tokens.col.state', 'tokens.col.made'].map((one) => html`<th key=${one} scope="col">${t(one)}</th>`)}<th scope="col"><span class="visually-hidden">${t('actions')}</span></th></tr></thead><tbody>${rows.map((one) => html`<tr key=${one.id}>
      <td>${one.label || html`<span class="muted">${t('tokens.unnamed')}</span>`} <code class="muted small">${one.id}</code></td><td>${one.account}</td>
      <td>${one.scopes.map((scope) => html`<${Badge} key=${scope} kind=${scope === 'admin' ? 'warn' : 'plain'}>${scope}</${Badge}>`)}${one.speaks_for?.length > 0 && html`<div class="small muted">${one.speaks_for.join(', ')}</div>`}</td>
      <td>${one.is_revoked ? html`<${Badge} kind="bad">${t('tokens.revoked')}</${Badge}>` : isGood(one) ? html`<${Badge} kind="good">${t('tokens.good')}</${Badge}>${one.expires_at_ms && html` <span class="small muted">${t('tokens.until')} <${Time} ms=${one.expires_at_ms} full /></span>`}` : html`<${Badge}>${t('tokens.over')}</${Badge}>`}</td>
      <td><${Time} ms=${one.created_at_ms} /></td><td class="end">${isGood(one) && html`<${Button} small kind="quiet" icon="trash" label=${t('tokens.revoke')} busy=${busy} onClick=${() => revoke(one)} />`}</td></tr>`)}</tbody></table></div>` : html`<p class="muted">${t('tokens.none')}</p>`)}
  </section>`;
}

function NewToken({ close }) {
  const [label, setLabel] = useState('');
  const [account, setAccount] = useState('');
  const [days, setDays] = useState('30');
  const [scopes, setScopes] = useState(['read']);
  const [groups, setGroups] = useState('');
  const [busy, act] = useAct();
  const submit = async (event) => {
    event.preventDefault();
    const wish = { label, scopes, ...(account ? { account } : {}), ...(days ? { expires_at_ms: Date.now() + Number(days) * DAY_MS } : {}), ...(scopes.includes('delegate') ? { for_groups: groups.split(/[\s,]+/).filter(Boolean) } : {}) };
    const made = await act(() => call('POST', '/api/tokens', wish));
    if (made) close(made);
  };
  return html`<form onSubmit=${submit}><h2>${t('tokens.new')}</h2>
    <label class="field"><span>${t('name')}</span><input autofocus maxlength="128" value=${label} onInput=${(event) => setLabel(event.target.value)} /></label>
    ${may('admin') && html`<label class="field"><span>${t('account')}</span><input placeholder=${speaker.value.account} value=${account} onInput=${(event) => setAccount(event.target.value)} /></label>`}
    <fieldset class="field"><legend>${t('tokens.col.scopes')}</legend>${SCOPES.filter((scope) => may(scope) || may('admin')).map((scope) => html`<label key=${scope} class="check"><input type="checkbox" checked=${scopes.includes(scope)} onChange=${(event) => setScopes(event.target.checked ? [...scopes, scope] : scopes.filter((one) => one !== scope))} /> <code>${scope}</code> <span class="muted small">${t(`scope.${scope}`)}</span></label>`)}</fieldset>
    ${scopes.includes('delegate') && html`<label class="field"><span>${t('tokens.groups')}</span><input required value=${groups} onInput=${(event) => setGroups(event.target.value)} /></label>`}
    <label class="field"><span>${t('tokens.days')}</span><input type="number" min="1" max="3650" value=${days} onInput=${(event) => setDays(event.target.value)} /></label>
    <div class="row end"><${Button} onClick=${() => close(null)}>${t('cancel')}</${Button}><${Button} kind="main" type="submit" busy=${busy} disabled=${!scopes.length}>${t('tokens.make')}</${Button}></div></form>`;
}

function AccountList() {
  const { value, error, again } = useGot('/api/accounts');
  const [busy, act] = useAct();
  const path = (one) => `/api/accounts/${part(one.account)}`;
  const make = async () => { const name = await prompt(t('accounts.new'), t('accounts.name'), '', t('accounts.make')); if (name && await act(() => call('POST', '/api/accounts', { account: name }), t('saved'))) again(); };
  const groups = async (one) => { const text = await prompt(t('accounts.groups', { name: one.account }), t('accounts.groups.label'), one.groups.join(', ')); if (text !== null && await act(() => call('PATCH', path(one), { groups: text.split(/[\s,]+/).filter(Boolean) }), t('saved'))) again(); };
  const toggle = async (one) => { if ((one.is_disabled || await confirm(t('accounts.disable'), t('accounts.disable.text', { name: one.account }), t('accounts.disable'))) && await act(() => call('PATCH', path(one), { is_disabled: !one.is_disabled }), t('saved'))) again(); };
  const drop = async (one) => { if (await confirm(t('accounts.delete'), t('accounts.delete.text', { name: one.account }), t('delete')) && await act(() => call('DELETE', path(one)).then(() => true))) again(); };
  return html`<section><div class="row"><h2>${t('accounts.title')}</h2><span class="spacer"></span><${Button} icon="plus" onClick=${make}>${t('accounts.new')}</${Button}></div>
    ${error && html`<${Failure} error=${error} again=${again} />`}${!value && !error && html`<${Loading} />`}
    ${value && html`<div class="table-box" tabindex="0" role="group" aria-label=${t('md.table')}><table><thead><tr><th scope="col">${t('account')}</th><th scope="col">${t('accounts.col.groups')}</th><th scope="col">${t('tokens.col.state')}</th><th scope="col">${t('tokens.col.made')}</th><th scope="col"><span class="visually-hidden">${t('actions')}</span></th></tr></thead><tbody>${value.accounts.map((one) => html`<tr key=${one.account}><td>${one.account} ${one.is_operator && html`<${Badge}>${t('accounts.operator')}</${Badge}>`}</td><td>${one.groups.map((group) => html`<${Badge} key=${group}>${group}</${Badge}>`)}</td>
      <td><${Badge} kind=${one.is_disabled ? 'bad' : 'good'}>${one.is_disabled ? t('accounts.disabled') : t('tokens.good')}</${Badge}></td><td><${Time} ms=${one.created_at_ms} /></td>
      <td class="end"><${Button} small onClick=${() => groups(one)}>${t('accounts.col.groups')}</${Button}>${!one.is_operator && html` <${Button} small busy=${busy} onClick=${() => toggle(one)}>${one.is_disabled ? t('accounts.enable') : t('accounts.disable')}</${Button}> <${Button} small kind="quiet" icon="trash" label=${t('accounts.delete')} busy=${busy} onClick=${() => drop(one)} />`}</td></tr>`)}</tbody></table></div>`}
  </section>`;
}
