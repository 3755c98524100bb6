// Values that several parts of the page look at.
import { useEffect, useReducer } from './view.js';

/** A value with listeners. */
export class Value {
  #listeners = new Set();
  constructor(value) { this.value = value; }
  set(value) {
    if (Object.is(value, this.value)) return;
    this.value = value;
    this.tell();
  }
  tell() { for (const listener of [...this.#listeners]) listener(this.value); }
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Draws the component again when the value changes. */
export function useValue(value) {
  const [, again] = useReducer((n) => n + 1, 0);
  const shown = value.value;
  useEffect(() => {
    // It may have changed between drawing and listening.
    if (!Object.is(value.value, shown)) again();
    return value.listen(again);
  }, [value]);
  return shown;
}

/** What the browser keeps for this page; private windows may refuse, and then it is kept for as long as the page lives. */
function keeper(of) {
  const here = new Map();
  const tried = (work, otherwise) => { try { return work(of()); } catch { return otherwise; } };
  return {
    get: (name) => tried((kept) => kept.getItem(name), undefined) ?? here.get(name) ?? null,
    set(name, text) { here.set(name, text); tried((kept) => kept.setItem(name, text)); },
    drop(name) { here.delete(name); tried((kept) => kept.removeItem(name)); },
  };
}
/** For this tab. */
export const tab = keeper(() => sessionStorage);
/** For this browser: looks and language, nothing of anybody's. */
export const browser = keeper(() => localStorage);
