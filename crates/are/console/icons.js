// Line icons on a grid of 24, drawn with the text's colour.
import { html } from './view.js';

const PATHS = {
  plus: 'M12 5v14M5 12h14',
  search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm5-2 4 4',
  menu: 'M4 7h16M4 12h16M4 17h16',
  close: 'M6 6l12 12M18 6 6 18',
  send: 'M12 19V5m-6 6 6-6 6 6',
  stop: 'M7 7h10v10H7z',
  clip: 'M20 11.5 12.5 19a5 5 0 0 1-7-7L13 4.5a3.3 3.3 0 0 1 4.7 4.7L10.5 16.5a1.7 1.7 0 0 1-2.4-2.4L14.5 7.7',
  check: 'M5 12.5 10 17l9-10',
  cross: 'M7 7l10 10M17 7 7 17',
  down: 'M6 9l6 6 6-6',
  right: 'M9 6l6 6-6 6',
  left: 'M15 6l-6 6 6 6',
  up: 'M7 10v10H4V10h3Zm0 0 4-7a2 2 0 0 1 2 2v4h5.5a1.5 1.5 0 0 1 1.5 1.8l-1.3 7a1.5 1.5 0 0 1-1.5 1.2H7',
  thumbdown: 'M17 14V4h3v10h-3Zm0 0-4 7a2 2 0 0 1-2-2v-4H5.5A1.5 1.5 0 0 1 4 13.2l1.3-7A1.5 1.5 0 0 1 6.8 5H17',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  clock: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm0-14v5l3 2',
  inbox: 'M4 13l3-8h10l3 8v6H4v-6Zm0 0h5l1.5 2.5h3L15 13h5',
  chat: 'M4 5h16v11H10l-4 4v-4H4z',
  tool: 'M14.5 6.5a4 4 0 0 1 5-1l-2.6 2.6.9 2.1 2.1.9 2.6-2.6a4 4 0 0 1-5.5 5L9 21.5 4.5 17l8-8a4 4 0 0 1 2-2.5',
  memory: 'M12 4C7 4 4 5.5 4 7.5S7 11 12 11s8-1.5 8-3.5S17 4 12 4ZM4 7.5v9C4 18.5 7 20 12 20s8-1.5 8-3.5v-9M4 12c0 2 3 3.5 8 3.5s8-1.5 8-3.5',
  variable: 'M8 4c-3 0-3 2-3 4s0 4-2 4c2 0 2 2 2 4s0 4 3 4M16 4c3 0 3 2 3 4s0 4 2 4c-2 0-2 2-2 4s0 4-3 4M10 9l4 6M14 9l-4 6',
  shield: 'M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6l7-3Z',
  chart: 'M4 20V4M4 20h16M8 16v-4M12 16V8M16 16v-6',
  spark: 'M12 3v4M12 17v4M3 12h4M17 12h4M6 6l2.5 2.5M15.5 15.5 18 18M18 6l-2.5 2.5M8.5 15.5 6 18M12 10a2 2 0 1 1 0 4 2 2 0 0 1 0-4Z',
  model: 'M12 3l8 4.5v9L12 21l-8-4.5v-9L12 3Zm0 9 8-4.5M12 12v9M12 12 4 7.5',
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Zm-6 9c0-3.5 2.5-5.5 6-5.5s6 2 6 5.5M16 4.5a3.5 3.5 0 0 1 0 6.5M18 15c2 .8 3 2.5 3 5',
  log: 'M6 3h9l4 4v14H6zM14 3v5h5M9 13h7M9 17h7',
  key: 'M15.5 14a5 5 0 1 0-4.7-3.3L4 17.5V20h3.5v-2H9.5v-2h2l1-1.2M16.5 8.5h.01',
  gear: 'M12 15.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM12 2.5v3M12 18.5v3M2.5 12h3M18.5 12h3M5.3 5.3l2.1 2.1M16.6 16.6l2.1 2.1M18.7 5.3l-2.1 2.1M7.4 16.6l-2.1 2.1',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M19 5l-1.4 1.4M6.4 17.6 5 19',
  moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z',
  fork: 'M7 4v16M7 14c6 0 10-2 10-7M17 9V4m-2.5 2.5L17 4l2.5 2.5',
  trash: 'M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  out: 'M14 4h5v16h-5M4 12h11m-4-4 4 4-4 4',
  warning: 'M12 4 2.5 20h19L12 4Zm0 6v4m0 3v.01',
  undo: 'M8 5 4 9l4 4M4 9h10a6 6 0 0 1 0 12h-3',
  save: 'M12 4v11m-5-4 5 4.5 5-4.5M5 20h14',
  play: 'M8 5l11 7-11 7z',
  refresh: 'M20 11a8 8 0 1 0-2 6m2 3v-5h-5',
  file: 'M6 3h8l4 4v14H6zM14 3v4h4',
  question: 'M9 9a3 3 0 1 1 4.2 2.8c-.8.4-1.2 1-1.2 2.2m0 3v.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z',
};

/** Dots need more ink than lines. */
const HEAVY = { more: 2.8 };

export function Icon({ name, size = 18 }) {
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width=${HEAVY[name] ?? 1.7} stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"><path d=${PATHS[name] ?? PATHS.more} /></svg>`;
}
