// The agents that sessions can name: who they are and what they may use.
import { html } from '../view.js';
import { get, may, part } from '../api.js';
import { Markdown } from '../markdown.js';
import { Badge, Empty, Failure, Loading, NotServed, Page, Visible, useGot, useLoaded } from '../parts.js';
import { t } from '../words.js';

export function Agents({ name }) {
  const { value, error, again } = useGot('/api/agents');
  if (name) return html`<${Agent} key=${name} name=${name} />`;
  return html`<${Page} title=${t('agents')} about=${t('agents.about')}>
    ${error && html`<${Failure} error=${error} again=${again} />`}${!value && !error && html`<${Loading} />`}
    <${NotServed} problems=${value?.problems} />
    ${value && !value.agents.length && html`<${Empty} icon="people" title=${t('agents.none')} />`}
    ${value?.agents.length > 0 && html`<ul class="list">${value.agents.map((one) => html`<li key=${one.name}><a href=${`#/agents/${part(one.name)}`}><code class="name">${one.name}</code><span class="gist">${one.tools ? one.tools.join(', ') : t('tools.all')}</span>${one.policy && html`<${Badge}>${one.policy}</${Badge}>`}${one.model && html`<${Badge}>${one.model}</${Badge}>`}</a></li>`)}</ul>`}
  </${Page}>`;
}

function Agent({ name }) {
  const { value, error, again } = useLoaded(() => get(`/api/agents/${part(name)}`), [name]);
  const budget = Object.entries(value?.budget ?? {}).filter(([, one]) => one !== null && typeof one !== 'object');
  return html`<${Page} title=${name} wide actions=${html`<a class="button plain" href="#/agents">${t('agents.all')}</a>${may('prompt') && value && html`<a class="button main" href=${`#/new/${part(name)}`}>${t('session.new')}</a>`}`}>
    ${error && html`<${Failure} error=${error} again=${again} />`}${!value && !error && html`<${Loading} />`}
    ${value && html`<div class="two-columns"><section><h2>${t('agents.instructions')}</h2>${value.instructions ? html`<${Markdown} text=${value.instructions} />` : html`<p class="muted">${t('agents.noinstructions')}</p>`}</section>
      <section><h2>${t('agents.rights')}</h2><dl class="pairs"><dt>${t('model')}</dt><dd>${value.model ?? t('model.default')}</dd><dt>${t('policy.profile')}</dt><dd>${value.policy ?? t('agents.noprofile')}</dd>
        ${budget.map(([key, one]) => html`<dt key=${key}><code>${key}</code></dt><dd>${String(one)}</dd>`)}
        <dt>${t('agents.mayuse')}</dt><dd>${value.may_use.map((tool) => html`<a key=${tool} href=${`#/tools/${part(tool)}`}><code><${Visible} text=${tool} /></code></a> `)}</dd></dl></section></div>`}
  </${Page}>`;
}
