// The models that can be called now.
import { html } from '../view.js';
import { Badge, Empty, Failure, Loading, Page, useGot } from '../parts.js';
import { number, t } from '../words.js';

export function Models() {
  const { value, error, again } = useGot('/api/models');
  return html`<${Page} title=${t('models')} about=${t('models.about')}>
    ${error && html`<${Failure} error=${error} again=${again} />`}${!value && !error && html`<${Loading} />`}
    ${value && !value.models.length && html`<${Empty} icon="model" title=${t('models.none')}><p class="muted">${t('models.none.text')}</p></${Empty}>`}
    ${value?.models.length > 0 && html`<div class="table-box" tabindex="0" role="group" aria-label=${t('md.table')}><table><thead><tr><th scope="col">${t('model')}</th><th scope="col" class="right">${t('models.context')}</th><th scope="col" class="right">${t('models.output')}</th><th scope="col">${t('models.where')}</th></tr></thead><tbody>${value.models.map((one, at) => html`<tr key=${one.name}><td><code>${one.name}</code> ${at === 0 && html`<${Badge} kind="good">${t('models.first')}</${Badge}>`}</td><td class="right">${number(one.context_tokens)}</td><td class="right">${number(one.output_tokens)}</td><td><${Badge} kind=${one.is_local ? 'good' : 'plain'}>${one.is_local ? t('models.local') : t('models.provider')}</${Badge}></td></tr>`)}</tbody></table></div>`}
  </${Page}>`;
}
