// What waits for the speaker in all sessions, live.
//
// A browser opens few connections to one server, and a stream holds one for as
// long as its tab lives. So the tabs of one login share a stream: the one that
// has the lock follows it and tells the others.
import { half } from './api.js';
import { follow } from './stream.js';
import { Value } from './store.js';

/** Waiting approvals, oldest first. */
export const waiting = new Value([]);
/** The last notice: a turn that ended, or an answer. */
export const notice = new Value(null);
export const following = new Value(true);

const same = (a, b) => a.session === b.session && a.approval === b.approval;
let end = null;

function heard(type, data) {
  if (type === 'waiting') waiting.set(data.approvals);
  else if (type === 'approval_requested') {
    waiting.set([...waiting.value.filter((one) => !same(one, data)), { ...data, is_parked: false }]);
  } else if (type === 'approval_resolved' || type === 'approval_withdrawn') {
    waiting.set(waiting.value.filter((one) => !same(one, data)));
  } else if (type === 'turn_parked') {
    waiting.set(waiting.value.map((one) => (same(one, data) ? { ...one, is_parked: true } : one)));
  } else if (['turn_completed', 'turn_failed', 'turn_cancelled'].includes(type)) {
    waiting.set(waiting.value.filter((one) => one.session !== data.session || one.turn !== data.turn));
  }
  if (type !== 'waiting') notice.set({ ...data, type });
}

export function begin() {
  if (end) return;
  const name = `are.inbox.${half()?.split('_')[1] ?? ''}`;
  // Pages that are not on a secure origin have no locks; each follows for itself then.
  const canShare = Boolean(navigator.locks) && 'BroadcastChannel' in globalThis;
  const channel = canShare ? new BroadcastChannel(name) : null;
  const ending = new AbortController();
  let leads = false;
  const lead = () => {
    leads = true;
    return follow('/api/events', (type, data) => { heard(type, data); channel?.postMessage({ type, data }); },
      (on) => { following.set(on); channel?.postMessage({ on }); });
  };
  if (channel) {
    channel.onmessage = ({ data: told }) => {
      if (told.ask && leads) { channel.postMessage({ type: 'waiting', data: { approvals: waiting.value } }); channel.postMessage({ on: following.value }); }
      if (leads) return;
      if (told.type) heard(told.type, told.data);
      if ('on' in told) following.set(told.on);
    };
    channel.postMessage({ ask: true });
    navigator.locks.request(name, { signal: ending.signal }, () => new Promise((done) => {
      const stopped = lead();
      ending.signal.addEventListener('abort', () => { stopped(); done(); });
    })).catch(() => { /* It was given up before it was had. */ });
  } else {
    const stopped = lead();
    ending.signal.addEventListener('abort', stopped);
  }
  end = () => { ending.abort(); channel?.close(); };
}

export function stop() {
  end?.();
  end = null;
  waiting.set([]);
}
