// MCP servers that tools come from: how they stand, and the consent to what one declares.
import { html, useState } from '../view.js';
import { call, part } from '../api.js';
import { Badge, Button, Digest, Empty, Failure, Loading, NotServed, Page, Ticks, Visible, ask, confirm, useAct, useGot } from '../parts.js';
import { span, t, tOr } from '../words.js';
import { Effect } from './tools.js';

export function Servers() {
  const { value, error, again } = useGot('/api/mcp');
  const [busy, act] = useAct();
  const path = (name) => `/api/mcp/${part(name)}`;
  const consent = async (name, server) => {
    const declared = await act(() => call('POST', `${path(name)}/examine`, server ? { server } : {}));
    if (!declared || !await ask((close) => html`<${Declared} declared=${declared} close=${close} />`)) return;
    if (await act(() => call('POST', path(name), { digest: declared.digest }), t('saved'))) again();
  };
  const add = async () => { const wish = await ask((close) => html`<${New} close=${close} />`); if (wish) consent(wish.name, wish.server); };
  const drop = async (one) => { if (await confirm(t('file.remove', { name: one.name }), t('servers.remove.text'), t('remove')) && await act(() => call('DELETE', path(one.name)))) again(); };
  return html`<${Page} title=${t('servers')} about=${t('servers.about')} actions=${html`<${Button} kind="main" icon="plus" busy=${busy} onClick=${add}>${t('servers.new')}</${Button}>`}>
    ${error && html`<${Failure} error=${error} again=${again} />`}${!value && !error && html`<${Loading} />`}${busy && html`<${Loading} />`}
    ${value && !value.servers.length && html`<${Empty} icon="tool" title=${t('servers.none')}><p class="muted">${t('servers.none.text')}</p></${Empty}>`}
    ${value?.servers.map((one) => html`<section class="card" key=${one.name}><div class="row wrap"><h2>${one.name}</h2><${Badge} kind=${{ running: 'good', down: 'bad' }[one.state] ?? 'plain'}>${tOr(`servers.${one.state}`, one.state)}</${Badge}><span class="spacer"></span>
        <${Button} small busy=${busy} onClick=${() => consent(one.name)}>${t('servers.review')}</${Button}><${Button} small kind="quiet" icon="trash" label=${t('file.remove', { name: one.name })} busy=${busy} onClick=${() => drop(one)} /></div>
      ${one.why && html`<p class="muted"><${Ticks} text=${one.why} />${one.retry_after_ms ? ` · ${span(one.retry_after_ms)}` : ''}</p>`}
      <${Given} lines=${one.given} /><p class="small">${one.tools.map((tool) => html`<a key=${tool} href=${`#/tools/${part(tool)}`}><code>${tool}</code></a> `)}</p>
      <${NotServed} problems=${one.revoked} /></section>`)}
  </${Page}>`;
}

const Given = ({ lines }) => html`<pre class="given" tabindex="0"><${Visible} text=${lines.join('\n')} /></pre>`;

/** What is consented to, in full: a stranger's words, with what cannot be seen shown. */
function Declared({ declared, close }) {
  return html`<h2>${t('servers.consent', { name: declared.name })}</h2><p class="muted">${declared.server} · ${declared.revision}</p><${Given} lines=${declared.given} />
    ${declared.tools.map((tool) => html`<details key=${tool.name}><summary><code>${tool.name}</code> <${Effect} effect=${tool.effect} /> ${tool.state && html`<${Badge} kind=${tool.state === 'changed' ? 'warn' : 'plain'}>${tOr(`servers.tool.${tool.state}`, String(tool.state))}</${Badge}>`}</summary><p class="words"><${Visible} text=${String(tool.description ?? '')} /></p></details>`)}
    ${declared.gone?.length > 0 && html`<p><${Badge} kind="warn">${t('servers.gone')}</${Badge}> ${declared.gone.join(', ')}</p>`}<${NotServed} problems=${declared.refused} />
    <p class="small muted">${t('approval.digest')} <${Digest} value=${declared.digest} /></p>
    <div class="row end"><${Button} onClick=${() => close(false)}>${t('cancel')}</${Button}><${Button} kind="main" onClick=${() => close(true)}>${t('servers.serve')}</${Button}></div>`;
}

function New({ close }) {
  const [name, setName] = useState('');
  const [how, setHow] = useState('');
  const [wrong, setWrong] = useState(false);
  const submit = (event) => {
    event.preventDefault();
    let server;
    if (/^https?:\/\//.test(how.trim())) server = { url: how.trim() };
    else { try { server = JSON.parse(how); } catch { setWrong(true); return; } }
    close({ name: name.trim(), server });
  };
  return html`<form onSubmit=${submit}><h2>${t('servers.new')}</h2><label class="field"><span>${t('name')}</span><input required autofocus pattern="[a-z0-9_\\-]+" value=${name} onInput=${(event) => setName(event.target.value)} /></label>
    <label class="field"><span>${t('servers.how')} <small>${t('servers.how.hint')}</small></span><textarea required rows="5" class="mono" aria-invalid=${wrong} placeholder='{"command": "node", "args": ["server.js"]}' value=${how} onInput=${(event) => { setHow(event.target.value); setWrong(false); }}></textarea></label>
    <div class="row end"><${Button} onClick=${() => close(null)}>${t('cancel')}</${Button}><${Button} kind="main" type="submit">${t('servers.examine')}</${Button}></div></form>`;
}
