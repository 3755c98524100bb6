// The frame around the pages: the list of sessions, the places to go, the keys.
import { html, names, useEffect, useRef, useState } from './view.js';
import { has, may, speaker } from './api.js';
import { begin, notice, stop, waiting } from './inbox.js';
import { Badge, Button, Dialogs, Icon, Search, Toasts, explain, say } from './parts.js';
import { go, place } from './router.js';
import { useFound } from './search.js';
import { sessions } from './sessions.js';
import { useValue } from './store.js';
import { day, language, t } from './words.js';
import { Accounts } from './pages/accounts.js';
import { Agents } from './pages/agents.js';
import { Audit } from './pages/audit.js';
import { Chat, closeConversation } from './pages/chat.js';
import { Errors } from './pages/errors.js';
import { Inbox } from './pages/inbox.js';
import { Login } from './pages/login.js';
import { Memory } from './pages/memory.js';
import { Models } from './pages/models.js';
import { Policy } from './pages/policy.js';
import { Secrets } from './pages/secrets.js';
import { Servers } from './pages/servers.js';
import { System } from './pages/system.js';
import { Tools } from './pages/tools.js';
import { Usage } from './pages/usage.js';
import { Variables } from './pages/variables.js';

/** Places beside the sessions: path, icon, and the route without which there is none. */
const PLACES = [
  ['inbox', 'inbox', 'GET /api/approvals'],
  ['tools', 'tool', 'GET /api/tools'],
  ['servers', 'fork', 'GET /api/mcp', 'admin'],
  ['agents', 'spark', 'GET /api/agents'],
  ['memory', 'memory', 'GET /api/memory'],
  ['variables', 'variable', 'GET /api/variables'],
  ['secrets', 'key', 'GET /api/secrets'],
  ['policy', 'shield', 'GET /api/status'],
  ['usage', 'chart', 'GET /api/sessions'],
  ['models', 'model', 'GET /api/models'],
  ['accounts', 'people', 'GET /api/tokens'],
  ['audit', 'log', 'GET /api/audit/checkpoint', 'admin'],
  ['system', 'gear', 'GET /api/status'],
];

export function App({ error }) {
  useValue(language);
  const who = useValue(speaker);
  if (who === false) return html`<${Login} first=${error} /><${Toasts} />`;
  if (!who) return null;
  return html`<${Frame} key=${who.account} />`;
}

function Frame() {
  const path = useValue(place);
  const [drawer, setDrawer] = useState(false);
  useEffect(() => {
    begin();
    sessions.refresh();
    const ends = notice.listen((event) => { sessions.refresh(); told(event); });
    return () => { ends(); stop(); closeConversation(); };
  }, []);
  useEffect(() => setDrawer(false), [path]);
  useKeys(setDrawer);
  const count = useValue(waiting).length;
  useEffect(() => { setBadge(count); }, [count, path]);
  return html`<div class=${names('app', drawer && 'drawer')}>
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById('main').focus(); }}>${t('skip')}</a>
    <header class="topbar"><${Button} kind="quiet" icon="menu" label=${t('menu')} aria-expanded=${drawer} onClick=${() => setDrawer(!drawer)} /><span class="brand">ARE</span><span class="spacer"></span>
      ${count > 0 && html`<a class="count" href="#/inbox" aria-label=${t('inbox.count', { n: count })}>${count}</a>`}<${Button} kind="quiet" icon="plus" label=${t('session.new')} onClick=${() => go('/')} /></header>
    <${Sidebar} path=${path} count=${count} />
    ${drawer && html`<button type="button" class="shade" tabindex="-1" aria-label=${t('close')} onClick=${() => setDrawer(false)}></button>`}
    <main id="main" tabindex="-1"><${Shown} path=${path} /></main>
    <div class="visually-hidden" role="status" aria-live="polite">${count ? t('inbox.count', { n: count }) : ''}</div>
    <${Toasts} /><${Dialogs} />
  </div>`;
}

function setBadge(count) {
  document.title = `${count ? `(${count}) ` : ''}${document.title.replace(/^\(\d+\) /, '')}`;
}

/** Says what happens in sessions that are not looked at. */
function told(event) {
  if (place.value.startsWith(`/s/${event.session}`) && !document.hidden) return;
  const title = sessions.list.value?.find((one) => one.session === event.session)?.title ?? '';
  if (event.type === 'approval_requested' && place.value !== '/inbox') say(t('told.approval', { tool: event.tool ?? '' }), 'warn');
  if (event.type === 'turn_failed') say(t('told.failed', { title }), 'bad');
  if (event.type === 'turn_completed' && event.session && !place.value.startsWith('/tools')) say(t('told.completed', { title }));
}

function Shown({ path }) {
  const [, first, second, third, fourth, fifth] = path.split('/');
  switch (first) {
    case '': return html`<${Chat} />`;
    case 'new': return html`<${Chat} agent=${second} />`;
    case 'agents': return html`<${Agents} name=${second} />`;
    case 'servers': return html`<${Servers} />`;
    case 's': return html`<${Chat} session=${second} view=${third} turn=${fourth} artifact=${fifth} />`;
    case 'inbox': return html`<${Inbox} />`;
    case 'tools': return html`<${Tools} name=${second} />`;
    case 'memory': return html`<${Memory} />`;
    case 'variables': return html`<${Variables} />`;
    case 'secrets': return html`<${Secrets} />`;
    case 'policy': return html`<${Policy} />`;
    case 'usage': return html`<${Usage} />`;
    case 'models': return html`<${Models} />`;
    case 'accounts': return html`<${Accounts} />`;
    case 'audit': return html`<${Audit} key=${second} session=${second} />`;
    case 'system': return html`<${System} />`;
    case 'errors': return html`<${Errors} code=${second} />`;
    default: return html`<div class="page-scroll" tabindex="0"><div class="page"><h1>${t('nowhere')}</h1><p><a href="#/">${t('session.new')}</a></p></div></div>`;
  }
}

function Sidebar({ path, count }) {
  const list = useValue(sessions.list);
  const more = useValue(sessions.more);
  const [words, setWords] = useState('');
  const box = useRef(null);
  const found = (list ?? []).filter((one) => (one.title || one.session).toLowerCase().includes(words.toLowerCase()));
  const open = path.split('/')[2];
  let last = '';
  return html`<aside class="sidebar" aria-label=${t('places')}>
    <div class="sidebar-head"><a class="brand" href="#/"><span class="mark" aria-hidden="true"></span>ARE</a></div>
    ${may('prompt') && html`<a class="button main new" href="#/"><${Icon} name="plus" size=${16} />${t('session.new')}</a>`}
    <div ref=${box} class="sidebar-search"><${Search} value=${words} set=${setWords} label=${t('sessions.search')} /></div>
    <nav class="sessions" aria-label=${t('sessions')} tabindex="0">
      ${list === null && html`<p class="muted small pad">${t('loading')}</p>`}
      ${list?.length === 0 && html`<p class="muted small pad">${t('sessions.none')}</p>`}
      ${found.map((one) => {
        const when = period(one.updated_at_ms);
        const head = when === last ? null : html`<h2 class="period" key=${when}>${when}</h2>`;
        last = when;
        return [head, html`<a key=${one.session} href=${`#/s/${one.session}`} aria-current=${path.startsWith('/s/') && open === one.session ? 'page' : undefined} title=${one.title}>${one.title || t('session.untitled')}</a>`];
      })}
      ${more && !words.trim() && html`<${Button} small kind="quiet" onClick=${() => sessions.deeper()}>${t('more')}</${Button}>`}
      ${words.trim() && html`<${Said} words=${words} known=${found} />`}
    </nav>
    <nav class="places" aria-label=${t('places')}>${PLACES.filter(([, , route, scope]) => has(route) && (!scope || may(scope))).map(([name, icon]) => html`<a key=${name} href=${`#/${name}`} aria-current=${path.split('/')[1] === name ? 'page' : undefined}><${Icon} name=${icon} size=${16} /><span>${t(name)}</span>${name === 'inbox' && count > 0 && html`<${Badge} kind="count">${count}</${Badge}>`}</a>`)}</nav>
  </aside>`;
}

/** Sessions in whose prompts or answers the words stand, beside those that are called so. */
function Said({ words, known }) {
  const { list, next, busy, error, deeper } = useFound(words);
  const others = list.filter((one) => !known.some((same) => same.session === one.session));
  return html`${others.length > 0 && html`<h2 class="period">${t('sessions.found')}</h2>`}
    ${others.map((one) => html`<a key=${one.session} class="found" href=${`#/s/${one.session}${one.found.turn ? `/chat/${one.found.turn}` : ''}`}>${one.title || t('session.untitled')}<small class="muted">${one.found.text}</small></a>`)}
    ${error && html`<p class="muted small pad" role="alert">${explain(error)}</p>`}
    ${busy && html`<p class="muted small pad" role="status">${t('loading')}</p>`}
    ${!busy && !error && !others.length && !known.length && html`<p class="muted small pad" role="status">${t('sessions.notfound')}</p>`}
    ${next && html`<${Button} small kind="quiet" onClick=${deeper}>${t('more')}</${Button}>`}`;
}

function period(ms) {
  const days = Math.floor((new Date().setHours(0, 0, 0, 0) - new Date(ms).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days <= 0) return t('today');
  if (days === 1) return t('yesterday');
  if (days < 7) return t('week');
  return day(new Date(ms).setDate(1));
}

/** Single keys, where nothing is being written. */
function useKeys(setDrawer) {
  useEffect(() => {
    let before = '';
    const key = (event) => {
      const isWriting = event.target.closest?.('input, textarea, select, [contenteditable], dialog');
      if (event.key === 'Escape') setDrawer(false);
      if (isWriting || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = {
        '/': () => document.querySelector('.sidebar-search input')?.focus(),
        n: () => go('/'), i: () => go('/inbox'), '?': () => go('/system'),
        c: () => document.getElementById('prompt')?.focus(),
        ...(before === 'g' ? { t: () => go('/tools'), m: () => go('/memory'), u: () => go('/usage') } : {}),
      }[event.key];
      before = event.key;
      if (act) { event.preventDefault(); act(); }
    };
    document.addEventListener('keydown', key);
    return () => document.removeEventListener('keydown', key);
  }, []);
}
