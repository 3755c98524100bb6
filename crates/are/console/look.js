// Light or dark: the system's wish, unless the reader has another.
import { Value, browser } from './store.js';

const KEPT = 'are.look';
const kept = browser.get(KEPT);
export const look = new Value(['light', 'dark'].includes(kept) ? kept : 'system');
const show = (name) => { if (name === 'system') delete document.documentElement.dataset.look; else document.documentElement.dataset.look = name; };
show(look.value);

export function dress(name) {
  browser.set(KEPT, name);
  show(name);
  look.set(name);
}
/** True when it is dark now. */
export const isDark = () => (look.value === 'system' ? matchMedia('(prefers-color-scheme: dark)').matches : look.value === 'dark');
