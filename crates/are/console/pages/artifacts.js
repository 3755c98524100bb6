// What a session's calls kept for people, the latest first.
import { html } from '../view.js';
import { Artifact } from '../artifact.js';
import { Empty, Loading, Time } from '../parts.js';
import { t } from '../words.js';

export function Artifacts({ session, conversation }) {
  const { artifacts } = conversation.fold;
  if (!conversation.ready) return html`<${Loading} />`;
  if (!artifacts.length) return html`<${Empty} icon="file" title=${t('artifacts.none')} />`;
  const place = (one) => html`<span class="small muted"><${Time} ms=${one.at_ms} full /> · <a href=${`#/s/${session}/chat/${one.turn}/${one.seq}`}>${t('turn.number', { n: one.turn })}</a></span>`;
  return html`<div class="page-scroll" tabindex="0"><div class="page wide"><ul class="artifacts">${[...artifacts].reverse().map((one) => html`<li key=${one.seq}><${Artifact} artifact=${one} session=${session} more=${place(one)} lean /></li>`)}</ul></div></div>`;
}
