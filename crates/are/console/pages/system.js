// The server about itself, and how this page looks.
import { html } from '../view.js';
import { logout, speaker } from '../api.js';
import { Badge, Button, Failure, Loading, Page, Ticks, fail, useGot } from '../parts.js';
import { dress, look } from '../look.js';
import { useValue } from '../store.js';
import { language, number, speak, t } from '../words.js';

export function System() {
  const { value, error, again } = useGot('/api/status');
  const who = useValue(speaker);
  const chosen = useValue(look);
  const tongue = useValue(language);
  const known = ['version', 'model', 'profile', 'off', 'ready', 'sockets', 'sessions_active', 'policy', 'account', 'system_damage'];
  return html`<${Page} title=${t('system')} about=${t('system.about')}>
    <section class="card"><h2>${t('system.look')}</h2>
      <${Choice} name="look" label=${t('system.look')} value=${chosen} set=${dress} options=${[['system', t('look.system')], ['light', t('look.light')], ['dark', t('look.dark')]]} />
      <${Choice} name="language" label=${t('system.language')} value=${tongue} set=${speak} options=${[['en', 'English'], ['zh', '中文']]} /></section>
    <section class="card"><h2>${t('system.you')}</h2><p>${who.account} ${who.scopes.map((scope) => html`<${Badge} key=${scope}>${scope}</${Badge}>`)}</p>${who.is_login && html`<p class="after"><${Button} icon="out" onClick=${() => logout().catch(fail)}>${t('logout')}</${Button}></p>`}</section>
    ${error && html`<${Failure} error=${error} again=${again} />`}${!value && !error && html`<${Loading} />`}
    ${value && html`<section class="card"><h2>${t('system.server')}</h2><dl class="pairs">
      <dt>${t('system.version')}</dt><dd>${value.version}</dd><dt>${t('system.ready')}</dt><dd><${Badge} kind=${value.ready ? 'good' : 'bad'}>${value.ready ? t('yes') : t('no')}</${Badge}></dd>
      ${value.model && html`<dt>${t('model')}</dt><dd><code>${value.model}</code></dd>`}
      <dt>${t('system.sockets')}</dt><dd>${number(value.sockets)}</dd><dt>${t('system.sessions')}</dt><dd>${number(value.sessions_active)}</dd>
      ${value.off && html`<dt>${t('policy.off')}</dt><dd>${value.off.length ? value.off.map((one) => html`<div key=${one}><${Ticks} text=${one} /></div>`) : t('system.nothing')}</dd>`}
      ${value.system_damage && html`<dt>${t('system.damage')}</dt><dd><${Badge} kind="bad">${value.system_damage.join(', ')}</${Badge}></dd>`}
      ${Object.entries(value).filter(([name]) => !known.includes(name)).map(([name, one]) => html`<dt key=${name}>${name}</dt><dd>${typeof one === 'object' ? JSON.stringify(one) : String(one)}</dd>`)}</dl></section>`}
    <section class="card"><h2>${t('keys')}</h2><dl class="pairs keys">${[['/', 'sessions.search'], ['n', 'session.new'], ['i', 'inbox'], ['g t', 'tools'], ['?', 'keys.help'], ['Enter', 'keys.send'], ['Shift Enter', 'keys.line'], ['Alt Enter', 'keys.queue'], ['Esc', 'keys.stop']].map(([key, words]) => html`<dt key=${key}>${key.split(' ').map((one) => html`<kbd key=${one}>${one}</kbd> `)}</dt><dd>${t(words)}</dd>`)}</dl></section>
  </${Page}>`;
}

function Choice({ name, label, value, set, options }) {
  return html`<div class="choice" role="radiogroup" aria-label=${label}>${options.map(([key, words]) => html`<label key=${key}><input type="radio" name=${name} value=${key} checked=${value === key} onChange=${() => set(key)} /><span>${words}</span></label>`)}</div>`;
}
