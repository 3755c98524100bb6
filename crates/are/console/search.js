// Sessions by what was said in them. The server has no index: it looks into a
// bounded part of the sessions for each request and says where more is left.
import { useEffect, useRef, useState } from './view.js';
import { get } from './api.js';

/** After the last key, in milliseconds. */
const WAIT_MS = 300;
/** Sessions that are enough, and requests without them, before the reader is asked whether to look on. */
const WANTED = 20;
const REQUESTS = 5;

const NONE = { list: [], next: null, busy: false, error: null };

/** What is found of `words`: the sessions so far, whether it still looks, and `deeper()` where `next` says that more is left. */
export function useFound(words) {
  const text = words.trim();
  const [found, setFound] = useState(NONE);
  const search = useRef(null);
  const look = async (list, from, ending) => {
    let [all, next] = [list, from];
    setFound({ ...NONE, list, busy: true });
    try {
      for (let n = 0; n < REQUESTS && all.length < list.length + WANTED && (n === 0 || next); n += 1) {
        const asked = new URLSearchParams({ own: true, limit: WANTED, search: text, ...(next ? { from: next } : {}) });
        const page = await get(`/api/sessions?${asked}`, { signal: ending.signal });
        all = [...all, ...page.sessions];
        next = page.next ?? null;
      }
      setFound({ ...NONE, list: all, next });
    } catch (error) {
      if (error.name !== 'AbortError') setFound({ ...NONE, list: all, error });
    }
  };
  useEffect(() => {
    // One letter of an alphabet is everywhere; one of Chinese is a word.
    if (!text || /^[\x20-\x7e]$/.test(text)) { setFound(NONE); return undefined; }
    const ending = new AbortController();
    search.current = ending;
    setFound({ ...NONE, busy: true });
    const timer = setTimeout(() => look([], null, ending), WAIT_MS);
    return () => { clearTimeout(timer); ending.abort(); };
  }, [text]);
  return { ...found, deeper: () => look(found.list, found.next, search.current) };
}
