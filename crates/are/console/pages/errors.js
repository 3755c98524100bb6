// What a code means: the page of the documents, which comes with the console.
import { html } from '../view.js';
import { Markdown } from '../markdown.js';
import { Empty, Failure, Loading, Page, useLoaded } from '../parts.js';
import { t } from '../words.js';

let kept = null;
const load = () => (kept ??= fetch(new URL('../errors.json', import.meta.url)).then((answer) => answer.json()));

export function Errors({ code }) {
  const { value, error, again } = useLoaded(load, []);
  const text = value?.[code];
  const title = /^# (.*)$/m.exec(text ?? '')?.[1];
  return html`<${Page} title=${title ?? (code ? String(code) : t('errors'))} actions=${code && html`<a class="button plain" href="#/errors">${t('errors')}</a>`}>
    ${error && html`<${Failure} error=${error} again=${again} />`}${!value && !error && html`<${Loading} />`}
    ${text && html`<${Markdown} text=${text.replace(/^# .*\n/, '')} />`}
    ${value && code && !text && html`<${Empty} icon="question" title=${t('errors.none')} />`}
    ${value && !code && html`<ul class="list">${Object.entries(value).map(([name, page]) => html`<li key=${name}><a href=${`#/errors/${name}`}><code class="name">${name}</code><span class="gist">${/^# ARE-\d+: (.*)$/m.exec(page)?.[1]}</span></a></li>`)}</ul>`}
  </${Page}>`;
}
