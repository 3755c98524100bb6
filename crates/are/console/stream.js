// Server-sent events over `fetch`, because the browser's own reader sends no headers.
import { request } from './api.js';

const WAIT_MS_MAX = 15_000;

/** Follows a stream and comes back when it breaks; returns what ends it. */
export function follow(path, heard, changed = () => {}) {
  const ending = new AbortController();
  let last = null;
  let wait = 250;
  (async () => {
    while (!ending.signal.aborted) {
      try {
        const more = last ? { 'last-event-id': last } : {};
        const response = await request('GET', path, { accept: 'text/event-stream', signal: ending.signal, more });
        wait = 250;
        changed(true);
        for await (const event of events(response.body)) {
          if (event.id) last = event.id;
          if (event.type === 'error') { last = null; break; }
          heard(event.type, event.data);
        }
      } catch (error) {
        if (ending.signal.aborted || error.status === 401) return;
        if (error.status === 403 || error.status === 404) { changed(false, error); return; }
      }
      changed(false);
      await new Promise((resolve) => setTimeout(resolve, wait * (0.7 + Math.random() * 0.6)));
      wait = Math.min(wait * 2, WAIT_MS_MAX);
    }
  })();
  return () => ending.abort();
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    let end;
    while ((end = rest.indexOf('\n\n')) >= 0) {
      const event = { type: 'message', id: '', data: '' };
      for (const line of rest.slice(0, end).split('\n')) {
        const at = line.indexOf(':');
        if (at <= 0) continue;
        const text = line.slice(at + 1).replace(/^ /, '');
        if (line.startsWith('event:')) event.type = text;
        if (line.startsWith('id:')) event.id = text;
        if (line.startsWith('data:')) event.data += text;
      }
      rest = rest.slice(end + 2);
      if (event.data) yield { ...event, data: JSON.parse(event.data) };
    }
  }
}
