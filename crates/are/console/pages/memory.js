// What the account remembers: searched, added, forgotten.
import { html, useState } from '../view.js';
import { call, get, may, part } from '../api.js';
import { Badge, Button, Empty, Failure, Loading, Page, Search, Time, Visible, confirm, useAct, useLoaded } from '../parts.js';
import { t, tOr } from '../words.js';

const PAGE = 50;

export function Memory() {
  const [words, setWords] = useState('');
  const [query, setQuery] = useState('');
  const [text, setText] = useState('');
  const [older, setOlder] = useState([]);
  const [busy, act] = useAct();
  const { value, error, again } = useLoaded(() => { setOlder([]); return get(query ? `/api/memory/search?query=${part(query)}&limit=50` : `/api/memory?limit=${PAGE}`); }, [query]);
  const all = [...(value?.memories ?? []), ...older];
  const last = all.at(-1)?.order;
  const add = async (event) => { event.preventDefault(); if (await act(() => call('POST', '/api/memory', { text }), t('memory.added'))) { setText(''); again(); } };
  const drop = async (one) => { if (await confirm(t('memory.forget'), one.text.slice(0, 300), t('memory.forget.yes')) && await act(() => call('DELETE', `/api/memory/${part(one.id)}`).then(() => true))) again(); };
  return html`<${Page} title=${t('memory')} about=${t('memory.about')}>
    ${may('prompt') && html`<form class="inline-form" onSubmit=${add}><label class="field grow"><span>${t('memory.new')}</span><textarea rows="2" maxlength="8192" required value=${text} onInput=${(event) => setText(event.target.value)}></textarea></label><${Button} kind="main" type="submit" busy=${busy}>${t('memory.add')}</${Button}></form>`}
    <form class="bar" onSubmit=${(event) => { event.preventDefault(); setQuery(words.trim()); }}><${Search} value=${words} set=${(next) => { setWords(next); if (!next) setQuery(''); }} label=${t('memory.search')} /></form>
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!value && !error && html`<${Loading} />`}
    ${value && !all.length && html`<${Empty} icon="memory" title=${query ? t('memory.notfound') : t('memory.none')}><p class="muted">${query ? '' : t('memory.none.text')}</p></${Empty}>`}
    <ul class="cards">${all.map((one) => html`<li key=${one.id} class="card"><p class="words"><${Visible} text=${one.text} /></p><p class="small muted row">
      ${one.label?.integrity && html`<${Badge} kind=${one.label.integrity === 'untrusted' ? 'warn' : 'plain'}>${tOr(`label.${one.label.integrity}`, one.label.integrity)}</${Badge}>`}<${Time} ms=${one.created_at_ms} />${one.session && html`<a href=${`#/s/${one.session}`}>${t('session.menu')}</a>`}<span class="spacer"></span>
      ${may('prompt') && html`<${Button} small kind="quiet" icon="trash" label=${t('memory.forget')} busy=${busy} onClick=${() => drop(one)} />`}</p></li>`)}</ul>
    ${!query && value?.memories.length >= PAGE && last && html`<${Button} busy=${busy} onClick=${() => act(async () => { const next = await get(`/api/memory?limit=${PAGE}&before=${last}`); setOlder([...older, ...next.memories]); })}>${t('more')}</${Button}>`}
  </${Page}>`;
}
