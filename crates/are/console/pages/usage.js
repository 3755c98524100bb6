// Tokens and times of the latest sessions, read out of their journals.
import { html, useEffect, useRef, useState } from '../view.js';
import { get, part } from '../api.js';
import { Fold } from '../fold.js';
import { isDark, look } from '../look.js';
import { Empty, Failure, Loading, Page, useLoaded } from '../parts.js';
import { useValue } from '../store.js';
import { number, span, t } from '../words.js';

/** Sessions that are read, and pages of each: what a browser reads within a second or two. */
const SESSIONS = 20;
const PAGES = 6;

export function Usage() {
  const [progress, setProgress] = useState(0);
  const { value, error, again } = useLoaded(() => gather(setProgress), []);
  return html`<${Page} title=${t('usage')} about=${t('usage.about', { n: SESSIONS })} wide>
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!value && !error && html`<${Loading} /><progress max=${SESSIONS} value=${progress} aria-label=${t('loading')}></progress>`}
    ${value && (value.turns.length ? html`<${Drawn} data=${value} />` : html`<${Empty} icon="chart" title=${t('usage.none')}><p class="muted">${t('usage.none.text')}</p></${Empty}>`)}
  </${Page}>`;
}

async function gather(progress) {
  const { sessions } = await get(`/api/sessions?limit=${SESSIONS}`);
  const turns = [];
  let read = 0;
  for (const { session } of sessions) {
    const fold = new Fold();
    let after = 0;
    for (let page = 0; page < PAGES; page += 1) {
      const { events, seq } = await get(`/api/sessions/${part(session)}/events?after=${after}`);
      if (!events.length) break;
      for (const event of events) fold.add(event);
      after = seq;
    }
    for (const turn of fold.turns) if (turn.endedAt && turn.steps.length) turns.push({ ...turn, session });
    progress(read += 1);
  }
  turns.sort((a, b) => a.startedAt - b.startedAt);
  return { turns };
}

function Drawn({ data: { turns } }) {
  const at = turns.map((turn) => turn.startedAt / 1000);
  const models = new Map();
  const tools = new Map();
  for (const turn of turns) {
    for (const step of turn.steps) {
      if (step.end == null) continue;
      const map = step.kind === 'model' ? models : tools;
      const row = map.get(step.name) ?? { count: 0, ms: [], input: 0, output: 0, bad: 0 };
      row.count += 1;
      row.ms.push(step.end - step.start);
      row.input += step.usage?.input ?? 0;
      row.output += step.usage?.output ?? 0;
      if (['failed', 'denied', 'unknown'].includes(step.state)) row.bad += 1;
      map.set(step.name, row);
    }
  }
  const total = (pick) => turns.reduce((sum, turn) => sum + pick(turn), 0);
  return html`<dl class="figures"><div><dt>${t('trace.turns')}</dt><dd>${number(turns.length)}</dd></div><div><dt>${t('trace.input')}</dt><dd>${number(total((turn) => turn.usage.input))}</dd></div><div><dt>${t('trace.output')}</dt><dd>${number(total((turn) => turn.usage.output))}</dd></div><div><dt>${t('usage.median')}</dt><dd>${span(middle(turns.map((turn) => turn.endedAt - turn.startedAt), 0.5))}</dd></div></dl>
    <${Chart} title=${t('usage.tokens')} at=${at} rows=${[{ label: t('trace.input'), values: turns.map((turn) => turn.usage.input) }, { label: t('trace.output'), values: turns.map((turn) => turn.usage.output) }]} show=${number} />
    <${Chart} title=${t('usage.times')} at=${at} rows=${[{ label: t('trace.model.time'), values: turns.map((turn) => time(turn, 'model')) }, { label: t('trace.tool.time'), values: turns.map((turn) => time(turn, 'tool')) }]} show=${span} />
    <${Table} title=${t('models')} name=${t('model')} map=${models} tokens />
    <${Table} title=${t('tools')} name=${t('tool')} map=${tools} />`;
}

const time = (turn, kind) => turn.steps.filter((step) => step.kind === kind && step.end != null).reduce((sum, step) => sum + step.end - step.start, 0);
const middle = (values, share) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))];

function Table({ title, name, map, tokens }) {
  if (!map.size) return null;
  return html`<section><h2>${title}</h2><div class="table-box" tabindex="0" role="group" aria-label=${t('md.table')}><table><thead><tr><th scope="col">${name}</th><th scope="col" class="right">${t('usage.count')}</th><th scope="col" class="right">p50</th><th scope="col" class="right">p95</th>${tokens ? html`<th scope="col" class="right">${t('trace.input')}</th><th scope="col" class="right">${t('trace.output')}</th>` : html`<th scope="col" class="right">${t('usage.bad')}</th>`}</tr></thead><tbody>${[...map].sort((a, b) => b[1].count - a[1].count).map(([key, row]) => html`<tr key=${key}><td><code>${key}</code></td><td class="right">${number(row.count)}</td><td class="right">${span(middle(row.ms, 0.5))}</td><td class="right">${span(middle(row.ms, 0.95))}</td>${tokens ? html`<td class="right">${number(row.input)}</td><td class="right">${number(row.output)}</td>` : html`<td class="right">${number(row.bad)}</td>`}</tr>`)}</tbody></table></div></section>`;
}

function Chart({ title, at, rows, show }) {
  const box = useRef(null);
  const dark = useValue(look);
  useEffect(() => {
    let chart;
    let gone = false;
    let watch;
    if (!document.getElementById('uplot-style')) document.head.append(Object.assign(document.createElement('link'), { id: 'uplot-style', rel: 'stylesheet', href: new URL('../vendor/uplot.css', import.meta.url).href }));
    import('../vendor/uplot.mjs').then(({ default: Plot }) => {
      if (gone || !box.current) return;
      const night = isDark();
      const ink = night ? '#a8a59d' : '#5f5c55';
      const colours = night ? ['#8ea6ff', '#e0a458'] : ['#3150c4', '#a35f00'];
      const axis = { stroke: ink, grid: { stroke: night ? '#33322f' : '#e7e5e0', width: 1 }, ticks: { show: false } };
      const width = () => Math.max(box.current?.clientWidth ?? 600, 240);
      chart = new Plot({
        width: width(), height: 220, cursor: { y: false }, legend: { live: true },
        scales: { x: { time: false }, y: { range: (_, __, max) => [0, max || 1] } },
        axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick + 1 : '')) }, { ...axis, size: 70, values: (_, ticks) => ticks.map(show) }],
        series: [{ label: t('usage.turn'), value: (_, n) => (n == null ? '–' : new Date(at[n] * 1000).toLocaleString()) }, ...rows.map((row, n) => ({ label: row.label, stroke: colours[n], width: 2, points: { show: at.length < 60, size: 5 }, value: (_, value) => (value == null ? '–' : show(value)) }))],
      }, [at.map((_, n) => n), ...rows.map((row) => row.values)], box.current);
      watch = new ResizeObserver(() => chart.setSize({ width: width(), height: 220 }));
      watch.observe(box.current);
    });
    return () => { gone = true; watch?.disconnect(); chart?.destroy(); };
  }, [at.length, dark]);
  return html`<figure class="chart"><figcaption>${title}</figcaption><div ref=${box} role="img" aria-label=${`${title}: ${rows.map((row) => `${row.label} ${show(row.values.at(-1))}`).join(', ')}`}></div></figure>`;
}
