// A form out of a JSON Schema, for the shapes that tools have; what it does not
// know is written as JSON.
import { html, useState } from './view.js';
import { Button } from './parts.js';
import { t } from './words.js';

const DEPTH_MAX = 4;

/** `done(value)` takes the finished object. */
export function SchemaForm({ schema, root = schema, yes, busy, done, example }) {
  const [value, setValue] = useState(example ?? {});
  const [wrong, setWrong] = useState({});
  const isBad = Object.values(wrong).some(Boolean);
  return html`<form class="schema" onSubmit=${(event) => { event.preventDefault(); if (!isBad) done(value); }}>
    <${Parts} schema=${resolve(schema, root)} root=${root} value=${value} set=${setValue} flaw=${(path, is) => setWrong((before) => ({ ...before, [path]: is }))} path="" depth=${0} />
    <div class="row"><${Button} kind="main" icon="play" type="submit" busy=${busy} disabled=${isBad}>${yes}</${Button}></div>
  </form>`;
}

function resolve(schema, root) {
  if (!schema?.$ref?.startsWith('#/')) return schema ?? {};
  return schema.$ref.slice(2).split('/').reduce((at, part) => at?.[part.replaceAll('~1', '/').replaceAll('~0', '~')], root) ?? {};
}

function Parts({ schema, root, value, set, flaw, path, depth }) {
  const properties = Object.entries(schema.properties ?? {});
  if (!properties.length) return depth ? html`<${AsJson} value=${value} set=${set} flaw=${flaw} path=${path} />` : schema.additionalProperties === false || !schema.additionalProperties ? html`<p class="muted">${t('form.none')}</p>` : html`<${AsJson} value=${value} set=${set} flaw=${flaw} path=${path} />`;
  return properties.map(([name, one]) => html`<${Field} key=${name} ...${{ name, root, flaw, depth }} schema=${resolve(one, root)} path=${`${path}/${name}`}
    required=${schema.required?.includes(name)} value=${value?.[name]} set=${(next) => { const copy = { ...value }; if (next === undefined) delete copy[name]; else copy[name] = next; set(copy); }} />`);
}

function Field({ name, schema, root, required, value, set, flaw, path, depth }) {
  const id = `field${path.replaceAll('/', '-')}`;
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== 'null') : schema.type;
  const label = html`<span class="field-name"><code>${name}</code>${required && html`<span class="required" title=${t('form.required')}>*</span>`}${schema.description && html`<small>${schema.description}</small>`}</span>`;
  const text = (event) => set(event.target.value === '' && !required ? undefined : event.target.value);
  if (schema.enum) return html`<label class="field" for=${id}>${label}<select id=${id} required=${required} value=${value === undefined ? '' : JSON.stringify(value)} onChange=${(event) => set(event.target.value === '' ? undefined : JSON.parse(event.target.value))}><option value="">–</option>${schema.enum.map((one) => html`<option key=${String(one)} value=${JSON.stringify(one)}>${String(one)}</option>`)}</select></label>`;
  if (type === 'boolean') return html`<label class="field check" for=${id}><input id=${id} type="checkbox" checked=${value === true} onChange=${(event) => set(event.target.checked)} />${label}</label>`;
  if (type === 'integer' || type === 'number') return html`<label class="field" for=${id}>${label}<input id=${id} type="number" step=${type === 'integer' ? 1 : 'any'} min=${schema.minimum} max=${schema.maximum} required=${required} value=${value ?? ''} onInput=${(event) => set(event.target.value === '' ? undefined : Number(event.target.value))} /></label>`;
  if (type === 'string') return html`<label class="field" for=${id}>${label}<textarea id=${id} rows=${name === 'content' || name === 'text' ? 4 : 1} required=${required} value=${value ?? ''} onInput=${text}></textarea></label>`;
  if (type === 'array' && ['string', undefined].includes(resolve(schema.items, root).type) && !resolve(schema.items, root).properties) {
    return html`<label class="field" for=${id}>${label}<textarea id=${id} rows="2" placeholder=${t('form.lines')} required=${required} value=${(value ?? []).join('\n')} onInput=${(event) => set(event.target.value === '' ? undefined : event.target.value.split('\n'))}></textarea></label>`;
  }
  if (type === 'object' && schema.properties && depth < DEPTH_MAX) return html`<fieldset class="field"><legend>${label}</legend><${Parts} ...${{ schema, root, set, flaw, path }} value=${value} depth=${depth + 1} /></fieldset>`;
  return html`<label class="field" for=${id}>${label}<${AsJson} ...${{ id, value, set, flaw, path, required }} /></label>`;
}

function AsJson({ id, value, set, flaw, path, required }) {
  const [text, setText] = useState(value === undefined ? '' : JSON.stringify(value, null, 1));
  const [bad, setBad] = useState(false);
  const change = (event) => {
    const next = event.target.value;
    setText(next);
    let isBad = false;
    try { set(next.trim() === '' ? undefined : JSON.parse(next)); } catch { isBad = true; }
    setBad(isBad);
    flaw(path, isBad);
  };
  return html`<textarea id=${id} rows="3" class="mono" placeholder="JSON" aria-invalid=${bad} required=${required} value=${text} onInput=${change}></textarea>`;
}
