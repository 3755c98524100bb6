// A tool call: one line, which opens to everything that is known of it.
import { html, names, useState } from './view.js';
import { Approval, Origins } from './approval.js';
import { Artifact } from './artifact.js';
import { Badge, CodeLink, Elapsed, Fields, Icon, Json, Labels, Ticks, Visible } from './parts.js';
import { number, span, t, tOr } from './words.js';

const MARKS = { done: 'check', client: 'tool', failed: 'warning', denied: 'shield', unknown: 'question', stopped: 'stop', waiting: 'shield' };

export function Call({ call, session, answer, open: first = false, more }) {
  const [open, setOpen] = useState(first);
  const { state, decision } = call;
  const isBusy = ['asked', 'decided', 'running'].includes(state);
  const id = `call-${call.call}`;
  return html`<div class=${names('call', state)}>
    <button type="button" class="call-line" aria-expanded=${open} aria-controls=${id} onClick=${() => setOpen(!open)}>
      ${isBusy ? html`<span class="spinner" aria-hidden="true"></span>` : html`<${Icon} name=${MARKS[state] ?? 'tool'} size=${15} />`}
      <code class="tool">${call.tool}</code>
      <span class="gist"><${Visible} text=${gist(call.args)} /></span>
      ${decision && decision.outcome !== 'allow' && !['waiting', 'denied'].includes(state) && html`<${Badge} kind=${decision.outcome === 'deny' ? 'bad' : 'warn'}>${tOr(`outcome.${decision.outcome}`, decision.outcome)}</${Badge}>`}
      ${decision?.would && decision.would !== decision.outcome && html`<${Badge} kind="warn">${t('decision.would')} ${tOr(`outcome.${decision.would}`, decision.would)}</${Badge}>`}
      ${call.firewall && html`<${Badge} kind="warn">${tOr(`verdict.${call.firewall.verdict}`, call.firewall.verdict)}</${Badge}>`}
      <span class="state">${tOr(`state.${state}`, state)}</span>
      ${call.ms != null ? html`<span class="muted ms">${span(call.ms)}</span>` : state === 'running' && html`<${Elapsed} since=${call.startedAt} />`}
      <${Icon} name=${open ? 'down' : 'right'} size=${15} />
    </button>
    ${state === 'waiting' && call.approval && answer && html`<${Approval} approval=${call.approval} answer=${(decision) => answer(call.approval, decision)} />`}
    ${call.child && html`<p class="child"><a href=${`#/s/${call.child.session}`}>${t('call.child', { agent: call.child.agent ?? '' })}</a>${call.child.ended && html` <${Badge} kind=${{ completed: 'good', failed: 'bad' }[call.child.ended] ?? 'warn'}>${tOr(`turn.${call.child.ended}`, call.child.ended)}</${Badge}>`}${call.child.used?.tokens != null ? html` <span class="muted">${t('tokens.out', { n: number(call.child.used.tokens) })}</span>` : ''}</p>`}
    ${!open && isBusy && call.output.length > 0 && html`<pre class="tail" aria-hidden="true">${call.output.at(-1).text.split('\n').slice(-4).join('\n')}</pre>`}
    ${open && html`<div class="call-more" id=${id}>
      <h4>${t('call.args')}</h4><${Fields} value=${call.args} label=${t('call.args')} />
      ${decision && html`<${Decision} decision=${decision} />`}
      ${call.firewall && html`<h4>${t('firewall')}</h4><p><${Badge} kind="warn">${tOr(`verdict.${call.firewall.verdict}`, call.firewall.verdict)}</${Badge}> ${call.firewall.reasons.join('; ')}</p>`}
      ${call.output.length > 0 && html`<h4>${t('call.output')}</h4>${call.output.map((part, at) => html`<pre key=${at} tabindex="0" class=${`stream ${part.stream}`} aria-label=${part.stream}><${Visible} text=${part.text.slice(-20_000)} /></pre>`)}`}
      ${call.result !== undefined && html`<h4>${t('call.result')} ${call.labels && html`<${Labels} labels=${call.labels} />`}</h4>${call.result === null ? html`<p class="muted">${t('erased')}</p>` : html`<${Result} value=${call.result} />`}`}
      ${call.error && html`<h4>${t('call.error')}</h4><p><${CodeLink} code=${call.error.code} /> <${Ticks} text=${call.error.message} /></p>${call.error.help && html`<p class="muted"><${Ticks} text=${call.error.help} /></p>`}`}
      <p class="small muted facts">${t('tools.call')} ${call.call}${call.effect ? ` · ${t('effect')} ${tOr(`effect.${call.effect}`, call.effect)}` : ''}${call.retry ? ` · ${tOr(`retry.${call.retry}`, call.retry)}` : ''}</p>
      ${more}
    </div>`}
    ${call.artifacts.map((one) => html`<${Artifact} key=${one.seq} artifact=${one} session=${session} />`)}
    ${call.children.length > 0 && html`<div class="children">${call.children.map((child) => html`<${Call} key=${child.call} call=${child} session=${session} answer=${answer} />`)}</div>`}
  </div>`;
}

/** A result: text as it is read where it is mostly that, else as JSON. */
function Result({ value }) {
  if (typeof value === 'string') return html`<${Json} value=${value} label=${t('call.result')} />`;
  if (value && typeof value === 'object' && !Array.isArray(value)) return html`<${Fields} value=${value} label=${t('call.result')} />`;
  return html`<${Json} value=${value} label=${t('call.result')} />`;
}

function Decision({ decision }) {
  return html`<h4>${t('decision')}</h4><dl class="pairs">
    <dt>${t('decision.outcome')}</dt><dd><${Badge} kind=${{ allow: 'good', ask: 'warn', deny: 'bad' }[decision.outcome]}>${tOr(`outcome.${decision.outcome}`, decision.outcome)}</${Badge}>${decision.would && html` <span class="muted">${t('decision.would')} ${tOr(`outcome.${decision.would}`, decision.would)}</span>`}</dd>
    ${decision.why && html`<dt>${t('decision.why')}</dt><dd><${Ticks} text=${decision.why} /></dd>`}
    ${decision.say && html`<dt>${t('decision.say')}</dt><dd><q>${decision.say}</q></dd>`}
    ${decision.rules?.length > 0 && html`<dt>${t('decision.rules')}</dt><dd>${decision.rules.map((rule) => html`<code key=${rule}>${rule}</code> `)}</dd>`}
    ${decision.labels && html`<dt>${t('labels')}</dt><dd><${Labels} labels=${decision.labels} /></dd>`}
  </dl>${decision.origins?.length > 0 && html`<${Origins} origins=${decision.origins} />`}`;
}

/** What a call is about, in one line. */
export function gist(args) {
  if (!args || typeof args !== 'object') return '';
  const preferred = ['path', 'url', 'argv', 'shell', 'query', 'text', 'name', 'prompt', 'pattern'];
  const name = preferred.find((one) => args[one] !== undefined) ?? Object.keys(args)[0];
  if (name === undefined) return '';
  const value = args[name];
  const text = Array.isArray(value) && value.every((one) => typeof one !== 'object') ? value.join(' ') : typeof value === 'string' ? value : JSON.stringify(value);
  return text.replace(/\s+/g, ' ').slice(0, 160);
}
