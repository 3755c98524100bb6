// Markdown to elements, for text that nobody vouches for.
//
// No HTML is understood, no image is loaded, and only web and mail addresses
// become links, which show where they lead. Nothing here makes markup out of
// text: everything goes through `h`, which escapes. Depth and size are bounded,
// so that hostile text costs time in proportion to its length.
import { h, html, useState } from './view.js';
import { t } from './words.js';
import { CopyButton } from './parts.js';

const DEPTH_MAX = 8;
/** Bytes of a block in which marks are looked for; what is longer is shown as it is. */
const INLINE_MAX = 8_000;

/** The blocks of a text, each memorised by its source, so that a growing answer draws only its end. */
export function Markdown({ text }) {
  return html`<div class="prose">${blocks(text).map((source, at) => html`<${Block} key=${at} source=${source} />`)}</div>`;
}

function Block({ source }) {
  const [memory] = useState({});
  if (memory.source !== source) Object.assign(memory, { source, drawn: parse(source.split('\n'), 0) });
  return memory.drawn;
}

/** Cuts a text at blank lines that are not inside of a fence. */
function blocks(text) {
  const found = [];
  let current = [];
  let fence = null;
  for (const line of text.split('\n')) {
    const mark = /^\s{0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence) { if (mark && mark[0] === fence[0] && mark.length >= fence.length && /^\s*[`~]+\s*$/.test(line)) fence = null; }
    else if (mark) fence = mark;
    const indented = /^\s{2,}\S/.test(line);
    if (!fence && line.trim() === '' && !mark) {
      if (current.length) current.push('');
    } else {
      // A new block begins after a blank line, unless it goes on with a list.
      if (current.at(-1) === '' && !indented && !(isItem(line) && current.some(isItem))) {
        found.push(current.join('\n'));
        current = [];
      }
      current.push(line);
    }
  }
  if (current.length) found.push(current.join('\n'));
  return found;
}

const isItem = (line) => /^\s*([-*+]|\d{1,9}[.)])\s+/.test(line);

function parse(lines, depth) {
  const out = [];
  let at = 0;
  const paragraph = [];
  const flush = () => { if (paragraph.length) out.push(h('p', null, inline(paragraph.splice(0).join('\n')))); };
  while (at < lines.length) {
    const line = lines[at];
    let match;
    if ((match = /^\s{0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/.exec(line))) {
      flush();
      const [, mark, language] = match;
      const code = [];
      at += 1;
      while (at < lines.length && !new RegExp(`^\\s{0,3}${mark[0] === '`' ? '`' : '~'}{${mark.length},}\\s*$`).test(lines[at])) { code.push(lines[at]); at += 1; }
      at += 1;
      out.push(html`<${Code} text=${code.join('\n')} language=${language} />`);
    } else if ((match = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line))) {
      flush();
      // The page has its own headings above; an answer's begin below them.
      out.push(h(`h${Math.min(match[1].length + 2, 6)}`, { class: `h${match[1].length}` }, inline(match[2])));
      at += 1;
    } else if (/^\s{0,3}([-*_])(\s*\1){2,}\s*$/.test(line)) {
      flush();
      out.push(h('hr'));
      at += 1;
    } else if (/^\s{0,3}>/.test(line) && depth < DEPTH_MAX) {
      flush();
      const inner = [];
      while (at < lines.length && /^\s{0,3}>/.test(lines[at])) { inner.push(lines[at].replace(/^\s{0,3}>\s?/, '')); at += 1; }
      out.push(h('blockquote', null, parse(inner, depth + 1)));
    } else if (isItem(line) && depth < DEPTH_MAX) {
      flush();
      const [list, next] = listFrom(lines, at, depth);
      out.push(list);
      at = next;
    } else if (line.includes('|') && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[at + 1] ?? '')) {
      flush();
      const [table, next] = tableFrom(lines, at);
      out.push(table);
      at = next;
    } else {
      if (line.trim() === '') flush();
      else paragraph.push(line);
      at += 1;
    }
  }
  flush();
  return out;
}

function listFrom(lines, start, depth) {
  const indent = /^\s*/.exec(lines[start])[0].length;
  const ordered = /^\s*\d/.test(lines[start]);
  const first = ordered ? Number(/\d+/.exec(lines[start])[0]) : undefined;
  const items = [];
  let at = start;
  while (at < lines.length) {
    const line = lines[at];
    const own = /^\s*/.exec(line)[0].length;
    if (isItem(line) && own <= indent + 1) {
      if (own < indent || /^\s*\d/.test(line) !== ordered) break;
      items.push([line.replace(/^\s*([-*+]|\d{1,9}[.)])\s+/, '')]);
    } else if (line.trim() === '' || own > indent) {
      items.at(-1).push(line.slice(Math.min(own, indent + 2)));
    } else break;
    at += 1;
  }
  const drawn = items.map((inner) => {
    const task = /^\[([ xX])\]\s+/.exec(inner[0]);
    if (task) inner[0] = inner[0].slice(task[0].length);
    const body = parse(inner, depth + 1);
    const only = body.length && body[0].type === 'p' ? [body[0].props.children, ...body.slice(1)] : body;
    return h('li', null, task ? [h('span', { class: 'task' }, task[1] === ' ' ? '☐ ' : '☑ '), only] : only);
  });
  return [h(ordered ? 'ol' : 'ul', first > 1 ? { start: first } : null, drawn), at];
}

function tableFrom(lines, start) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map((cell) => cell.trim().replace(/\\\|/g, '|'));
  const sides = cells(lines[start + 1]).map((cell) => (/^:-+:$/.test(cell) ? 'center' : /-:$/.test(cell) ? 'right' : ''));
  const row = (line, tag) => h('tr', null, cells(line).slice(0, sides.length).map((cell, n) => h(tag, { class: sides[n] || undefined, scope: tag === 'th' ? 'col' : undefined }, inline(cell))));
  let at = start + 2;
  const body = [];
  while (at < lines.length && lines[at].includes('|') && lines[at].trim() !== '') { body.push(row(lines[at], 'td')); at += 1; }
  return [h('div', { class: 'table-box', tabindex: 0, role: 'region', 'aria-label': t('md.table') }, h('table', null, h('thead', null, row(lines[start], 'th')), h('tbody', null, body))), at];
}

export function Code({ text, language }) {
  return html`<figure class="code">
    <figcaption><span>${language || t('md.code')}</span><${CopyButton} text=${text} /></figcaption>
    <pre tabindex="0"><code>${text}</code></pre>
  </figure>`;
}

const MARKS = /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|(\*\*|__)(?=\S)([\s\S]*?\S)\3|(\*|_)(?=\S)([^*_\n]*?[^\s*_])\5(?![\w])|~~(?=\S)([\s\S]*?\S)~~|(!?)\[([^\]\n]{0,1000})\]\(\s*<?([^\s)>]{1,2000})>?(?:\s+"[^"\n]*")?\s*\)|\b(https?:\/\/[^\s<>"'`)\]]+[^\s<>"'`)\].,;:!?])|\\([\\`*_{}[\]()#+\-.!|~>])|( {2,}\n|\n)/g;

function inline(text, depth = 0) {
  if (text.length > INLINE_MAX || depth > DEPTH_MAX) return text;
  const out = [];
  let at = 0;
  for (const match of text.matchAll(MARKS)) {
    const [whole, , code, , strong, , soft, struck, image, label, target, bare, escaped, breaks] = match;
    const before = text[match.index - 1];
    // `_` inside of a word is a name's, not a mark.
    if (soft !== undefined && whole[0] === '_' && before && /\w/.test(before)) continue;
    if (match.index > at) out.push(text.slice(at, match.index));
    at = match.index + whole.length;
    if (code !== undefined) out.push(h('code', null, code.replace(/\n/g, ' ')));
    else if (strong !== undefined) out.push(h('strong', null, inline(strong, depth + 1)));
    else if (soft !== undefined) out.push(h('em', null, inline(soft, depth + 1)));
    else if (struck !== undefined) out.push(h('del', null, inline(struck, depth + 1)));
    else if (target !== undefined) out.push(link(image ? `${t('md.image')}: ${label}` : inline(label, depth + 1), target, label));
    else if (bare !== undefined) out.push(link(bare, bare, bare));
    else if (escaped !== undefined) out.push(escaped);
    else if (breaks !== undefined) out.push(breaks.length > 1 ? h('br') : '\n');
  }
  if (at < text.length) out.push(text.slice(at));
  return out;
}

/** A link that says where it leads; anything but the web and mail stays text. */
function link(label, target, words) {
  let url;
  try { url = new URL(target); } catch { return [label, ` (${target})`]; }
  if (!['http:', 'https:', 'mailto:'].includes(url.protocol)) return [label, ` (${target})`];
  const where = url.protocol === 'mailto:' ? url.pathname : url.host;
  const says = typeof words === 'string' && words.includes(where);
  return h('a', { href: url.href, target: '_blank', rel: 'noopener noreferrer nofollow', referrerpolicy: 'no-referrer', title: url.href },
    label, says ? null : h('span', { class: 'where' }, ` ${where}`));
}
