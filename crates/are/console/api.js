// Requests to the server, and the half of the login that goes with them.
//
// The browser adds the other half as a cookie that no script reads. Neither is
// worth anything alone. The half lives in this tab's storage; another tab of
// the same origin may ask for it, so that a link opens in a new tab logged in.
import { Value, tab } from './store.js';

const HALF = 'are.half';
/** How long another tab has to answer, in milliseconds. */
const ASK_MS = 150;

/** Who speaks: null until it is known, false when nobody is logged in. */
export const speaker = new Value(null);
/** The routes there are, as `METHOD /path`. */
export const routes = new Value(new Set());

const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('are.console') : null;
if (channel) {
  channel.onmessage = ({ data }) => {
    const half = tab.get(HALF);
    if (data?.ask && half && speaker.value) channel.postMessage({ half });
    if (data?.out && data.out === half) leave();
  };
}

/** A problem document, or what stands for one when there was no answer. */
export class Problem extends Error {
  constructor({ code = '', message = '', help = '', retry_after_ms = null }, status) {
    super(message);
    Object.assign(this, { code, help, status, retry_after_ms });
  }
}

export const half = () => tab.get(HALF);

function headers(more) {
  const own = half();
  return { ...(own ? { authorization: `Bearer ${own}` } : {}), 'are-thread': 'console', ...more };
}

async function problem(response) {
  let told = {};
  try { told = await response.json(); } catch { /* Something in between answered. */ }
  return new Problem({ message: `${response.status} ${response.statusText}`, ...told }, response.status);
}

/** Sends a request; the answer as it came, when it is a good one. */
export async function request(method, path, { body, accept, signal, more } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      cache: 'no-store',
      headers: headers({
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(accept ? { accept } : {}),
        ...more,
      }),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem({ code: 'ARE-0105', message: 'unreachable' }, 0);
  }
  if (response.ok) return response;
  const found = await problem(response);
  // A right credential is never slowed down, so this one is wrong as well.
  const isOut = response.status === 401 || found.code === 'ARE-0210';
  if (isOut && method + path !== 'POST/api/login') leave();
  throw found;
}

/** Sends a request; the answer's JSON, null where there is none. */
export async function call(method, path, body, options = {}) {
  const response = await request(method, path, { body, ...options });
  return response.status === 204 ? null : response.json();
}
export const get = (path, options) => call('GET', path, undefined, options);

/** A part of a path. */
export const part = encodeURIComponent;

/** Finds out who speaks; false when nobody is logged in. */
export async function arrive(options = {}) {
  if (!half() && channel) {
    const given = await new Promise((resolve) => {
      const heard = ({ data }) => data?.half && resolve(data.half);
      channel.addEventListener('message', heard);
      channel.postMessage({ ask: true });
      setTimeout(() => { channel.removeEventListener('message', heard); resolve(null); }, ASK_MS);
    });
    if (given) tab.set(HALF, given);
  }
  try {
    const who = await (await fetchLogin(options)).json();
    const described = await get('/api/openapi.json');
    const found = new Set();
    for (const [path, ways] of Object.entries(described.paths)) {
      for (const way of Object.keys(ways)) found.add(`${way.toUpperCase()} ${path}`);
    }
    routes.set(found);
    speaker.set(who);
    return true;
  } catch (error) {
    if (error.status !== 401 && error.code !== 'ARE-0210') throw error;
    tab.drop(HALF);
    speaker.set(false);
    return false;
  }
}

async function fetchLogin() {
  const response = await fetch('/api/login', { headers: headers(), cache: 'no-store' }).catch(() => null);
  if (!response) throw new Problem({ code: 'ARE-0105', message: 'unreachable' }, 0);
  if (!response.ok) throw await problem(response);
  return response;
}

/** Exchanges `{code}` or `{token}` for a login. */
export async function login(credential) {
  const made = await call('POST', '/api/login', credential);
  tab.set(HALF, made.half);
  return arrive();
}

/** Logs out here and in the tabs that share the login. */
export async function logout() {
  const own = half();
  try { await call('POST', '/api/logout'); } finally {
    channel?.postMessage({ out: own });
    leave();
  }
}

/** Forgets the login; the page asks for another. */
export function leave() {
  tab.drop(HALF);
  speaker.set(false);
}

/** True when the speaker has the scope. */
export const may = (scope) => {
  const scopes = speaker.value?.scopes ?? [];
  return scopes.includes(scope);
};

/** True when the server has the route. */
export const has = (route) => routes.value.has(route);

/** Hands a text or answer to the browser as a file. */
export function save(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement('a'), { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
