// The page's words, in the reader's language.
import { Value, browser } from './store.js';
import { en } from './words.en.js';
import { zh } from './words.zh.js';

const KEPT = 'are.language';
const ALL = { en, zh };

const first = browser.get(KEPT) ?? (navigator.language?.toLowerCase().startsWith('zh') ? 'zh' : 'en');
export const language = new Value(ALL[first] ? first : 'en');
document.documentElement.lang = language.value === 'zh' ? 'zh-Hans' : 'en';

export function speak(name) {
  browser.set(KEPT, name);
  document.documentElement.lang = name === 'zh' ? 'zh-Hans' : 'en';
  language.set(name);
}

/** The words of a key; `{name}` in them is filled in. */
export function t(key, values = {}) {
  const text = ALL[language.value][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
/** The words of a key that may not exist, such as that of a kind the server adds; then the kind itself. */
export const tOr = (key, otherwise) => ALL[language.value][key] ?? en[key] ?? otherwise;

const locale = () => (language.value === 'zh' ? 'zh-CN' : 'en-GB');
const cache = new Map();
function format(kind, options) {
  const name = `${locale()} ${kind} ${JSON.stringify(options)}`;
  if (!cache.has(name)) cache.set(name, kind === 'number' ? new Intl.NumberFormat(locale(), options) : new Intl.DateTimeFormat(locale(), options));
  return cache.get(name);
}

export const number = (value) => format('number', {}).format(value ?? 0);
export const clock = (ms) => format('date', { hour: '2-digit', minute: '2-digit' }).format(ms);
export const moment = (ms) => format('date', { dateStyle: 'medium', timeStyle: 'medium' }).format(ms);
export const day = (ms) => format('date', { day: 'numeric', month: 'short', year: new Date(ms).getFullYear() === new Date().getFullYear() ? undefined : 'numeric' }).format(ms);

/** A length of time, short. */
export function span(ms) {
  if (ms == null || Number.isNaN(ms)) return '–';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 59_500) return `${(ms / 1000).toFixed(ms < 9_950 ? 1 : 0)} s`;
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Bytes, short. */
export function bytes(count) {
  if (count == null) return '–';
  if (count < 1024) return `${count} B`;
  if (count < 1024 ** 2) return `${(count / 1024).toFixed(1)} KiB`;
  return `${(count / 1024 ** 2).toFixed(1)} MiB`;
}
