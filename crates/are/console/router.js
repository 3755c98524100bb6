// Which page is shown: the address behind `#`.
import { Value } from './store.js';

const read = () => decodeURI(location.hash.replace(/^#/, '')) || '/';
export const place = new Value(read());
addEventListener('hashchange', () => place.set(read()));

/** Goes to a page; `quietly` leaves no step to go back to. */
export function go(path, quietly = false) {
  if (quietly) { history.replaceState(null, '', `#${path}`); place.set(path); } else location.hash = path;
}
