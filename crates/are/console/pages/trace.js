// Where a session's time and tokens went: its steps on a line of time.
import { html, names, useState } from '../view.js';
import { Call } from '../call.js';
import { wordsOf } from '../fold.js';
import { Badge, Empty, Icon, Loading, Time } from '../parts.js';
import { number, span, t, tOr } from '../words.js';

export function Trace({ conversation }) {
  const { fold } = conversation;
  if (!conversation.ready) return html`<${Loading} />`;
  if (!fold.turns.length) return html`<${Empty} icon="chart" title=${t('trace.none')} />`;
  const sum = { turns: fold.turns.length, model: 0, tool: 0, input: 0, cached: 0, output: 0, calls: 0, denied: 0, failed: 0 };
  for (const turn of fold.turns) {
    sum.input += turn.usage.input; sum.cached += turn.usage.cached; sum.output += turn.usage.output;
    for (const step of turn.steps) if (step.end != null) sum[step.kind] += step.end - step.start;
    for (const call of turn.calls) { sum.calls += 1; if (call.state === 'denied') sum.denied += 1; if (call.state === 'failed') sum.failed += 1; }
  }
  const { created } = fold;
  return html`<div class="page-scroll" tabindex="0"><div class="page wide">
    <dl class="figures">
      <${Figure} name=${t('trace.turns')} value=${number(sum.turns)} />
      <${Figure} name=${t('trace.model.time')} value=${span(sum.model)} />
      <${Figure} name=${t('trace.tool.time')} value=${span(sum.tool)} />
      <${Figure} name=${t('trace.input')} value=${number(sum.input)} more=${sum.cached ? t('trace.cached', { n: number(sum.cached) }) : ''} />
      <${Figure} name=${t('trace.output')} value=${number(sum.output)} />
      <${Figure} name=${t('trace.calls')} value=${number(sum.calls)} more=${[sum.denied && t('trace.denied', { n: sum.denied }), sum.failed && t('trace.failed', { n: sum.failed })].filter(Boolean).join(', ')} />
    </dl>
    ${created && html`<p class="small muted before">${t('trace.made')} <${Time} ms=${created.at_ms} full /> · ${t('trace.agent')} ${created.agent}${created.workspace ? html` · <code>${created.workspace}</code>` : ''}${created.parent ? html` · <a href=${`#/s/${created.parent.session}`}>${t('trace.parent')}</a>` : ''}</p>`}
    ${fold.turns.map((turn) => html`<${TurnTrace} key=${turn.number} turn=${turn} fold=${fold} session=${conversation.key} />`)}
  </div></div>`;
}

const Figure = ({ name, value, more }) => html`<div><dt>${name}</dt><dd>${value}${more && html`<small>${more}</small>`}</dd></div>`;

function TurnTrace({ turn, fold, session }) {
  const [open, setOpen] = useState(null);
  const begin = turn.startedAt ?? turn.steps[0]?.start ?? 0;
  const end = turn.endedAt ?? Math.max(Date.now(), begin + 1);
  const length = Math.max(end - begin, 1);
  const steps = [...turn.steps].sort((a, b) => a.start - b.start || a.seq - b.seq);
  return html`<section class="trace">
    <header><h2>${t('turn.number', { n: turn.number })}</h2><span class="gist">${wordsOf(turn.content).slice(0, 140)}</span>
      <${Badge} kind=${{ completed: 'good', failed: 'bad', cancelled: 'warn', parked: 'warn', waiting: 'warn' }[turn.state] ?? 'plain'}>${tOr(`turn.${turn.state}`, turn.state)}</${Badge}>
      <span class="muted">${span(end - begin)}</span></header>
    <ol class="steps">${steps.map((step, at) => {
      const left = Math.max(0, Math.min(99, ((step.start - begin) / length) * 100));
      const width = Math.max(0.6, Math.min(100 - left, (((step.end ?? end) - step.start) / length) * 100));
      return html`<li key=${step.seq}>
        <button type="button" class="step" aria-expanded=${open === at} onClick=${() => setOpen(open === at ? null : at)}>
          <${Icon} name=${step.kind === 'model' ? 'model' : 'tool'} size=${14} />
          <span class=${names('step-name', step.parent != null && 'inner')}>${step.name}</span>
          <span class="lane" aria-hidden="true"><span class=${names('bar', step.kind, step.state)} style=${{ left: `${left}%`, width: `${width}%` }}></span></span>
          <span class="step-time">${step.end == null && !turn.endedAt ? html`<span class="spinner" aria-hidden="true"></span>` : span((step.end ?? end) - step.start)}</span>
        </button>
        ${open === at && html`<div class="step-more">${step.kind === 'model' ? html`<${Model} step=${step} begin=${begin} />` : html`<${Call} call=${fold.calls.get(step.call)} session=${session} open />`}</div>`}
      </li>`;
    })}</ol>
    ${!steps.length && html`<p class="muted">${t('trace.empty')}</p>`}
  </section>`;
}

function Model({ step, begin }) {
  return html`<dl class="pairs">
    <dt>${t('model')}</dt><dd>${step.name}</dd>
    <dt>${t('trace.began')}</dt><dd>+${span(step.start - begin)}</dd>
    <dt>${t('trace.attempt')}</dt><dd>${step.attempt}</dd>
    ${step.usage && html`<dt>${t('trace.input')}</dt><dd>${number(step.usage.input)}${step.usage.cached ? ` (${t('trace.cached', { n: number(step.usage.cached) })})` : ''}</dd><dt>${t('trace.output')}</dt><dd>${number(step.usage.output)}${step.end > step.start ? ` · ${t('trace.rate', { n: number(Math.round((step.usage.output / (step.end - step.start)) * 1000)) })}` : ''}</dd>`}
    ${step.stop && html`<dt>${t('trace.stop')}</dt><dd>${step.stop}</dd>`}
  </dl>`;
}
