// A socket that speaks `are.v2` and comes back when it breaks.
//
// It knows nothing of sessions: its owner says with which request to begin
// again (`greet`), and hears every message. Requests that wait for a direct
// answer when the socket breaks fail with `lost`; what must not be lost is
// repeated by the owner under its request id.
import { get, half, leave } from './api.js';

const WAIT_MS_MAX = 10_000;
/** How long a request may wait for its direct answer, in milliseconds. */
const ANSWER_MS = 30_000;

const base64url = (text) => btoa(text).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

export class Socket {
  #wanted = new Map();
  #next = 1;
  #wait = 200;
  #timer = null;
  #closed = false;

  /** `greet(send)` begins; `heard(message)` is every event; `changed(state)` is `open`, `waiting` or `closed`. */
  constructor({ greet, heard, changed }) {
    Object.assign(this, { greet, heard, changed, socket: null, state: 'waiting' });
    this.#connect();
    this.wake = () => { if (this.state === 'waiting' && !document.hidden) this.#now(); };
    addEventListener('online', this.wake);
    document.addEventListener('visibilitychange', this.wake);
  }

  /** Sends a request and resolves to its direct answer. */
  ask(frame) {
    if (this.socket?.readyState !== WebSocket.OPEN) return Promise.reject({ lost: true, message: 'offline' });
    const id = this.#next++;
    this.socket.send(JSON.stringify({ ...frame, id }));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => { this.#wanted.delete(id); reject({ lost: true, message: 'timeout' }); }, ANSWER_MS);
      this.#wanted.set(id, { resolve, reject, timer });
    });
  }

  close() {
    this.#closed = true;
    removeEventListener('online', this.wake);
    document.removeEventListener('visibilitychange', this.wake);
    clearTimeout(this.#timer);
    this.socket?.close(1000);
    this.#become('closed');
  }

  #become(state) {
    this.state = state;
    this.changed(state);
  }

  #now() {
    clearTimeout(this.#timer);
    this.#connect();
  }

  #connect() {
    const own = half();
    const protocols = own ? ['are.v2', `are.token.${base64url(own)}`] : ['are.v2'];
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(`${scheme}//${location.host}/ws`, protocols);
    this.socket = socket;
    socket.onopen = async () => {
      this.#become('open');
      try {
        await this.greet((frame) => this.ask(frame));
        this.#wait = 200;
      } catch (error) {
        if (!error.lost) { this.failed?.(error); }
        if (error.lost) socket.close();
      }
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      const wanted = Array.isArray(message) ? null : this.#wanted.get(message.id);
      if (!wanted) return this.heard(message);
      this.#wanted.delete(message.id);
      clearTimeout(wanted.timer);
      if (message.type === 'error') wanted.reject(message);
      else {
        // Before anything that follows on the socket is heard.
        this.heard(message);
        wanted.resolve(message);
      }
    };
    socket.onclose = ({ code, reason }) => {
      if (socket !== this.socket) return;
      for (const { reject, timer } of this.#wanted.values()) { clearTimeout(timer); reject({ lost: true, message: reason || 'lost' }); }
      this.#wanted.clear();
      if (this.#closed) return;
      if (code === 4201 || code === 4202) return leave();
      this.#become('waiting');
      const wait = this.#wait * (0.7 + Math.random() * 0.6);
      this.#wait = Math.min(this.#wait * 2, WAIT_MS_MAX);
      this.#timer = setTimeout(async () => {
        // A handshake's refusal cannot be seen by a page; whether the login still holds can.
        try { await get('/api/login'); } catch { if (!half() && own) return; }
        if (!this.#closed) this.#connect();
      }, wait);
    };
  }
}
