// The rules in force, and why the files as they are now are not.
import { html } from '../view.js';
import { has, may } from '../api.js';
import { Badge, Digest, Failure, Icon, Json, Loading, Page, Ticks, useGot } from '../parts.js';
import { t, tOr } from '../words.js';

export function Policy() {
  const { value, error, again } = useGot('/api/status');
  const policy = value?.policy;
  return html`<${Page} title=${t('policy')} about=${t('policy.about')}>
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!value && !error && html`<${Loading} />`}
    ${policy?.refused && html`<div class="failure" role="alert"><p><${Icon} name="warning" size=${16} /> ${t('policy.refused')}</p><pre tabindex="0">${typeof policy.refused === 'string' ? policy.refused : policy.refused.message ?? JSON.stringify(policy.refused, null, 2)}</pre></div>`}
    ${policy && html`<section class="card"><h2>${t('policy.profile')} <${Badge} kind=${policy.profile === 'observe' ? 'bad' : 'good'}>${policy.profile}</${Badge}></h2><p>${tOr(`profile.${policy.profile}`, '')}</p>
      <dl class="pairs"><dt>${t('digest')}</dt><dd><${Digest} value=${policy.digest} /></dd>
      <dt>${t('policy.files')}</dt><dd>${Array.isArray(policy.files) ? (policy.files.length ? policy.files.map((file) => html`<div key=${String(file)}><code>${typeof file === 'string' ? file : JSON.stringify(file)}</code></div>`) : t('policy.nofiles')) : String(policy.files ?? t('policy.nofiles'))}</dd>
      <dt>${t('policy.keeps')}</dt><dd>${policy.keeps_rules ? t('yes') : t('no')}</dd></dl></section>`}
    ${value?.off?.length > 0 && html`<section class="card bad"><h2>${t('policy.off')}</h2><ul>${value.off.map((one) => html`<li key=${one}><${Ticks} text=${one} /></li>`)}</ul></section>`}
    <section class="card"><h2>${t('policy.order')}</h2><ol>${[1, 2, 3, 4, 5].map((n) => html`<li key=${n}>${t(`policy.order.${n}`)}</li>`)}</ol><p class="muted small after">${t('policy.cli')} <code>are policy explain</code></p></section>
    ${may('admin') && has('GET /api/config') && html`<${Config} />`}
  </${Page}>`;
}

function Config() {
  const { value, error } = useGot('/api/config');
  if (error) return html`<${Failure} error=${error} />`;
  return html`<details class="card"><summary>${t('policy.config')}</summary>${value && html`<${Json} value=${value} />`}</details>`;
}
