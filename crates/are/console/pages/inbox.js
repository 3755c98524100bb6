// Everything that waits for the reader, in all sessions.
import { html } from '../view.js';
import { call, part } from '../api.js';
import { Approval } from '../approval.js';
import { Empty, Page } from '../parts.js';
import { useValue } from '../store.js';
import { following, waiting } from '../inbox.js';
import { sessions } from '../sessions.js';
import { t } from '../words.js';

export function Inbox() {
  const all = useValue(waiting);
  const on = useValue(following);
  const titles = useValue(sessions.list) ?? [];
  const answer = (one) => (decision) => call('POST', `/api/approvals/${part(one.session)}/${one.approval}`, { digest: one.digest, decision });
  return html`<${Page} title=${t('inbox')} about=${t('inbox.about')}>
    ${!on && html`<p class="note" role="status">${t('reconnecting')}</p>`}
    ${all.length === 0 && html`<${Empty} icon="inbox" title=${t('inbox.empty')}><p class="muted">${t('inbox.empty.text')}</p></${Empty}>`}
    ${all.map((one) => html`<${Approval} key=${`${one.session}/${one.approval}`} approval=${one} answer=${answer(one)}
      heading=${html`<a class="small" href=${`#/s/${one.session}`}>${titles.find((row) => row.session === one.session)?.title || t('session.untitled')}</a>`} />`)}
  </${Page}>`;
}
