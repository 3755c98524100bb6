// A session: the conversation, its trace, its changes, its journal.
import { html, names, useEffect, useLayoutEffect, useMemo, useRef, useState } from '../view.js';
import { call, get, may, part } from '../api.js';
import { Conversation } from '../conversation.js';
import { Composer } from '../composer.js';
import { Parts, Turn } from '../turn.js';
import { Badge, Button, CopyButton, Empty, Failure, Icon, Loading, Menu, confirm, fail, say } from '../parts.js';
import { useValue } from '../store.js';
import { language, t } from '../words.js';
import { go } from '../router.js';
import { sessions } from '../sessions.js';
import { Trace } from './trace.js';
import { Changes } from './changes.js';
import { Artifacts } from './artifacts.js';
import { Journal } from './journal.js';

const VIEWS = ['chat', 'trace', 'changes', 'artifacts', 'events'];

/** The turn to steer is not running. */
const ENDED = 'ARE-0310';

/** The firewall refused the words. */
const FLAGGED = 'ARE-0608';

/** The conversation of the key; the one that began as new goes on under its key. */
let current = null;
function conversationOf(key) {
  if (current && current.state !== 'closed' && (current.key === key) && (key !== null || current.fold.seq === 0)) return current;
  current?.close();
  current = new Conversation(key, { began: (made) => { sessions.refresh(); go(`/s/${made}`, true); } });
  return current;
}
export function closeConversation() { current?.close(); current = null; }

export function Chat({ session, agent, view = 'chat', turn, artifact }) {
  const key = session ?? null;
  const conversation = useMemo(() => conversationOf(key), [key]);
  useValue(conversation);
  useEffect(() => () => { /* Kept until another one is opened, so that going back is at once. */ }, []);
  const { fold } = conversation;
  const [models, setModels] = useState([]);
  useEffect(() => { get('/api/models').then(({ models: found }) => setModels(found), () => {}); }, []);
  const title = useValue(sessions.list)?.find((one) => one.session === key)?.title || (key ? t('session.untitled') : t('session.new'));
  useEffect(() => { document.title = `${title} · ARE`; }, [title]);

  if (conversation.problem && !fold.turns.length && key) return html`<div class="page-scroll" tabindex="0"><div class="page"><${Failure} error=${conversation.problem} again=${() => { closeConversation(); go(`/s/${key}`); location.reload(); }} /></div></div>`;
  const shown = VIEWS.includes(view) ? view : 'chat';
  return html`<section class="session">
    <${Head} ...${{ conversation, title, shown, session: key }} />
    ${shown === 'chat' && html`<${Talk} ...${{ conversation, models, agent, session: key, turn: turn ? Number(turn) : null, artifact: artifact ? Number(artifact) : null }} />`}
    ${shown === 'trace' && html`<${Trace} conversation=${conversation} />`}
    ${shown === 'changes' && html`<${Changes} session=${key} fold=${fold} turn=${turn} />`}
    ${shown === 'artifacts' && html`<${Artifacts} session=${key} conversation=${conversation} />`}
    ${shown === 'events' && html`<${Journal} session=${key} fold=${fold} />`}
  </section>`;
}

function Head({ conversation, title, shown, session }) {
  const fork = () => forkAt(session);
  const erase = async () => {
    if (!await confirm(t('session.delete'), t('session.delete.text'), t('delete'))) return;
    try { await call('DELETE', `/api/sessions/${part(session)}`); closeConversation(); sessions.refresh(); say(t('session.deleted'), 'good'); go('/'); } catch (error) { fail(error); }
  };
  const kept = conversation.fold.artifacts.length;
  const path = `/api/sessions/${part(session)}/compact`;
  // What it comes to is a turn of its own, which is seen as it runs.
  const compact = () => call('POST', path).catch(fail);
  const uncompact = () => call('DELETE', path).then(() => say(t('note.compact.undone'), 'good'), fail);
  return html`<header class="session-head">
    <h1 class="session-title" title=${title}>${title}</h1>
    ${conversation.state === 'waiting' && conversation.ready && html`<span class="reconnecting" role="status"><span class="spinner" aria-hidden="true"></span>${t('reconnecting')}</span>`}
    ${session && html`<nav class="tabs" aria-label=${t('session.views')}>${VIEWS.map((one) => html`<a key=${one} href=${`#/s/${session}${one === 'chat' ? '' : `/${one}`}`} aria-current=${one === shown ? 'page' : undefined}>${t(`view.${one}`)}${one === 'artifacts' && kept > 0 && ` (${kept})`}</a>`)}</nav>
    <${Menu} label=${t('session.menu')} items=${[
      may('prompt') && { words: t('session.fork'), icon: 'fork', act: fork },
      may('prompt') && conversation.fold.turns.length > 0 && { words: t('session.compact'), icon: 'file', act: compact },
      may('prompt') && conversation.fold.summary && { words: t('session.uncompact'), icon: 'undo', act: uncompact },
      { words: t('session.copy'), icon: 'copy', act: () => navigator.clipboard.writeText(session).then(() => say(t('copy.done'), 'good'), () => {}) },
      may('prompt') && { words: t('session.delete'), icon: 'trash', kind: 'danger', act: erase },
    ]} />`}
  </header>`;
}

async function forkAt(session, turn) {
  try {
    const made = await call('POST', `/api/sessions/${part(session)}/fork`, turn ? { turn } : {});
    sessions.refresh();
    say(t('done'), 'good');
    go(`/s/${made.session}`);
  } catch (error) { fail(error); }
}

function Talk({ conversation, models, agent, session, turn: wanted, artifact }) {
  const { fold, unsent } = conversation;
  const scroller = useRef(null);
  const follows = useRef(true);
  const [away, setAway] = useState(false);
  const running = fold.open;
  const tongue = useValue(language);
  const pending = unsent.filter((prompt) => !fold.turns.some((turn) => turn.requestId === prompt.request_id));

  useLayoutEffect(() => {
    const box = scroller.current;
    if (box && follows.current) box.scrollTop = box.scrollHeight;
  });
  // A link to a turn, as a search finds it, or to an artifact in it leads there once that is read.
  const isThere = wanted !== null && fold.byTurn.has(wanted) && fold.seq >= (artifact ?? 0);
  useLayoutEffect(() => {
    if (!isThere) return;
    follows.current = false;
    (document.getElementById(`artifact-${artifact}`) ?? document.getElementById(`turn-${wanted}`))?.scrollIntoView();
  }, [session, wanted, artifact, isThere]);
  const scrolled = () => {
    const box = scroller.current;
    follows.current = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
    setAway(!follows.current);
  };
  const down = () => { follows.current = true; scroller.current.scrollTop = scroller.current.scrollHeight; setAway(false); };
  const send = (content, wishes) => { follows.current = true; conversation.prompt(content, agent && !conversation.key ? { ...wishes, agent } : wishes); };
  const steer = (content) => conversation.steer(running.number, content).catch((error) => {
    // It ended meanwhile, or the socket broke: then it is a prompt, which is kept until the server has it.
    if (error.lost || error.code === ENDED) return conversation.prompt(content, { if_busy: 'steer' });
    fail(error);
    throw error;
  });
  const stop = () => running && conversation.cancel(running.number).catch(fail);
  const isNew = !session && !pending.length;

  return html`<div class="talk">
    <div class="scroller" ref=${scroller} onScroll=${scrolled} tabindex="0" role="region" aria-label=${t('view.chat')}>
      <div class="column">
        ${isNew && html`<${Welcome} agent=${agent} pick=${(text) => { const box = document.getElementById('prompt'); box.value = text; box.dispatchEvent(new Event('input', { bubbles: true })); box.focus(); }} />`}
        ${session && !conversation.ready && html`<${Loading} />`}
        ${session && conversation.ready && !fold.turns.length && !pending.length && html`<${Empty} icon="chat" title=${t('session.empty')}><p class="muted">${t('session.empty.text')}</p></${Empty}>`}
        ${fold.turns.map((turn) => html`<${Turn} key=${turn.number} turn=${turn} rev=${turn.rev} tongue=${tongue} conversation=${conversation}
          onFork=${(n) => forkAt(session, n)} onChanges=${(n) => go(`/s/${session}/changes/${n}`)} />`)}
        ${pending.map((prompt) => html`<${Pending} key=${prompt.request_id} prompt=${prompt} conversation=${conversation} />`)}
        ${conversation.problem && fold.turns.length > 0 && html`<${Failure} error=${conversation.problem} />`}
        ${fold.progress && running && html`<p class="note">${t(`progress.${fold.progress.phase}`) === `progress.${fold.progress.phase}` ? fold.progress.phase : t(`progress.${fold.progress.phase}`)}${fold.progress.total ? ` ${Math.round((fold.progress.done / fold.progress.total) * 100)} %` : ''}</p>`}
      </div>
    </div>
    <${Speech} turn=${fold.turns.at(-1)} />
    ${away && html`<button type="button" class="to-end" onClick=${down}><${Icon} name="down" size=${16} />${t('talk.end')}</button>`}
    <div class="column below">
      <${Composer} draft=${session ?? 'new'} running=${running} waiting=${!conversation.ready} disabled=${!may('prompt')} models=${models} send=${send} steer=${steer} stop=${stop} />
      <p class="fine muted">${t('prompt.keys')}</p>
    </div>
  </div>`;
}

/** What a screen reader hears: that an answer runs, and the answer when it is whole, not every token. */
function Speech({ turn }) {
  let words = '';
  if (turn && !turn.endedAt) words = turn.state === 'waiting' ? t('speech.waiting') : t('speech.running');
  else if (turn?.endedAt && Date.now() - turn.endedAt < 60_000) {
    const text = turn.items.filter((item) => item.kind === 'text').map((item) => item.text).join('\n');
    words = `${t('speech.done')} ${text.slice(0, 2000)}`;
  }
  return html`<div class="visually-hidden" role="status" aria-live="polite">${words}</div>`;
}

function Pending({ prompt, conversation }) {
  const content = typeof prompt.content === 'string' ? [{ type: 'text', text: prompt.content }] : prompt.content;
  return html`<article class="turn"><div class=${names('said', !prompt.failed && 'sending')}><${Parts} content=${content} /></div>
    ${prompt.failed
      ? html`<div class="answer"><${Failure} error=${prompt.failed} /><div class="row"><${Button} small icon="refresh" onClick=${() => conversation.again(prompt)}>${t('again')}</${Button}>${prompt.failed.code === FLAGGED && html`<${Button} small kind="danger" onClick=${() => conversation.anyway(prompt)}>${t('prompt.anyway')}</${Button}>`}<${Button} small onClick=${() => conversation.drop(prompt)}>${t('discard')}</${Button}><${CopyButton} text=${content.map((part) => part.text ?? '').join('\n')} /></div></div>`
      : html`<div class="answer"><p class="thinking"><span class="spinner" aria-hidden="true"></span>${conversation.state === 'open' ? (prompt.turn ? t('prompt.queued') : t('prompt.sending')) : t('prompt.offline')}</p></div>`}
  </article>`;
}

function Welcome({ agent, pick }) {
  return html`<div class="welcome"><h2>${t('welcome')}</h2>${agent && html`<p><${Badge} kind="good">${t('welcome.agent', { name: agent })}</${Badge}></p>`}<p class="muted">${t('welcome.text')}</p>
    <ul class="ideas">${[1, 2, 3].map((n) => html`<li key=${n}><button type="button" onClick=${() => pick(t(`welcome.idea.${n}`))}>${t(`welcome.idea.${n}`)}</button></li>`)}</ul></div>`;
}
