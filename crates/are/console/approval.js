// A call that waits for a person: everything it would do, and the answers.
import { html, names, useEffect, useState } from './view.js';
import { may } from './api.js';
import { Badge, Button, Digest, Fields, Icon, Ticks, Visible, fail } from './parts.js';
import { span, t } from './words.js';

/** Milliseconds before the answers can be given: nobody answers what jumped under the pointer. */
const ARM_MS = 600;

/** `answer(decision)` sends it; `heading` names the session where there are several. */
export function Approval({ approval, answer, heading }) {
  const [armed, setArmed] = useState(false);
  const [busy, setBusy] = useState(false);
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const arm = setTimeout(() => setArmed(true), ARM_MS);
    const tick = setInterval(() => setNow(Date.now()), 1000);
    return () => { clearTimeout(arm); clearInterval(tick); };
  }, []);
  const give = async (decision) => {
    setBusy(true);
    try { await answer(decision); } catch (error) { fail(error); setBusy(false); }
  };
  const left = approval.expires_at_ms - now;
  const can = may('approve');
  const off = !armed || busy;
  return html`<section class="approval" aria-label=${t('approval.title', { tool: approval.tool ?? '' })}>
    <header>
      <${Icon} name="shield" size=${18} />
      <h3>${t('approval.asks')} <code>${approval.tool}</code></h3>
      ${heading}
      <span class="spacer"></span>
      ${approval.is_parked ? html`<${Badge} kind="warn">${t('approval.parked')}</${Badge}>` : html`<span class=${names('muted', left < 60_000 && 'soon')}>${left > 0 ? t('approval.left', { time: span(left) }) : t('approval.late')}</span>`}
    </header>
    ${approval.why && html`<p class="why"><${Ticks} text=${approval.why} /></p>`}
    <${Fields} value=${approval.args} label=${t('call.args')} />
    ${approval.origins?.length > 0 && html`<${Origins} origins=${approval.origins} />`}
    ${approval.rule && html`<details><summary>${t('approval.rule')}</summary><pre tabindex="0"><${Visible} text=${approval.rule} /></pre></details>`}
    <p class="small muted">${t('approval.digest')} <${Digest} value=${approval.digest} /></p>
    ${can ? html`<div class="row wrap answers">
      <${Button} kind="main" icon="check" disabled=${off} onClick=${() => give('allow_once')}>${t('approval.once')}</${Button}>
      <${Button} disabled=${off} onClick=${() => give('allow_session')}>${t('approval.session')}</${Button}>
      ${may('admin') && approval.rule && html`<${Button} disabled=${off} onClick=${() => give('allow_always')}>${t('approval.always')}</${Button}>`}
      <${Button} kind="danger" icon="cross" disabled=${off} onClick=${() => give('deny')}>${t('approval.deny')}</${Button}>
    </div>` : html`<p class="muted">${t('approval.cannot')}</p>`}
  </section>`;
}

/** Where values came from, one a line. */
export const Origins = ({ origins }) => html`<div class="origins"><h4>${t('origins')}</h4><ul>${origins.map((one) => html`<li key=${one}><${Visible} text=${String(one)} /></li>`)}</ul></div>`;
