// One session as this page follows it: its socket, its fold, and what is said to it.
//
// Nothing is lost when the socket breaks: it attaches again after the last entry
// it has, and prompts that were not acknowledged are sent again under their
// request ids, also after the page was loaded anew.
import { Fold } from './fold.js';
import { Socket } from './socket.js';
import { Value, tab } from './store.js';

const kept = (key) => `are.unsent.${key ?? 'new'}`;
const uuid = () => crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');

/** What was kept, if it is still what was written. */
function read(text) {
  try { return JSON.parse(text) ?? []; } catch { return []; }
}

export class Conversation extends Value {
  #drawn = false;

  /** `key` is null for a session that begins with the first prompt. */
  constructor(key, { began = () => {} } = {}) {
    super(0);
    Object.assign(this, { key, began, fold: new Fold(), state: 'waiting', problem: null, ready: false, limits: null, target: 0 });
    this.unsent = read(tab.get(kept(key)));
    this.socket = new Socket({
      greet: (ask) => this.#greet(ask),
      heard: (message) => this.#heard(message),
      changed: (state) => { this.state = state; this.#draw(); },
    });
    this.socket.failed = (error) => { this.problem = error; this.ready = true; this.#draw(); };
  }

  close() { this.socket.close(); }

  async #greet(ask) {
    if (this.key) {
      const { fold } = this;
      const known = fold.epoch == null ? { after: 0 } : { after: fold.seq, epoch: fold.epoch };
      await ask({ type: 'attach', session: this.key, thread: 'console', ...known });
    } else {
      this.ready = true;
    }
    for (const prompt of [...this.unsent]) await this.#send(prompt);
    this.#draw();
  }

  #heard(message) {
    if (!Array.isArray(message)) {
      if (message.type === 'attached') {
        Object.assign(this, { limits: message.limits, problem: null, ready: true, target: message.seq });
        this.fold.epoch = message.epoch;
        if (message.turn != null) { this.fold.running ??= message.turn; }
      }
      if (message.type === 'reset') {
        this.fold.clear();
        Object.assign(this.fold, { epoch: message.epoch });
        this.ready = true;
      }
      if (message.type === 'ack' && !this.key) this.#begin(message);
      if (message.type === 'error') this.problem = message;
      if (message.type === 'progress') this.fold.progress = message;
    }
    this.fold.add(message);
    if (message.type === 'turn_started') this.#forget(message.request_id);
    this.#draw();
  }

  #begin(ack) {
    tab.drop(kept(null));
    this.key = ack.session;
    this.fold.epoch = ack.epoch ?? null;
    this.began(ack.session);
  }

  #forget(id) {
    const before = this.unsent.length;
    this.unsent = this.unsent.filter((prompt) => prompt.request_id !== id);
    if (this.unsent.length !== before) this.#keep();
  }

  #keep() {
    if (this.unsent.length) tab.set(kept(this.key), JSON.stringify(this.unsent));
    else tab.drop(kept(this.key));
  }

  // A burst of tokens is drawn once a frame.
  #draw() {
    if (this.#drawn) return;
    this.#drawn = true;
    const draw = () => { this.#drawn = false; this.set(this.value + 1); };
    if (document.hidden) setTimeout(draw, 200);
    else requestAnimationFrame(draw);
  }

  async #send(prompt) {
    try {
      const { failed: _failed, turn: _turn, ...frame } = prompt;
      const place = this.key ? {} : { thread: 'console' };
      const ack = await this.socket.ask({ type: 'prompt', ...place, ...frame });
      prompt.turn = ack.turn;
    } catch (error) {
      if (error.lost) throw error;
      prompt.failed = error;
      this.#keep();
      this.#draw();
    }
  }

  /** Says something; it is shown at once, and kept until the server has it. */
  async prompt(content, wishes = {}) {
    const prompt = { request_id: uuid(), content, ...wishes };
    this.unsent.push(prompt);
    this.#keep();
    this.#draw();
    try { await this.#send(prompt); } catch { /* It is sent again when the socket is back. */ }
  }

  /** Sends a prompt that the firewall refused all the same; that is another request, and recorded as one. */
  anyway(prompt) {
    this.#forget(prompt.request_id);
    const { failed: _failed, turn: _turn, request_id: _id, content, ...wishes } = prompt;
    return this.prompt(content, { ...wishes, allow_flagged: true });
  }
  /** Gives up a prompt that was refused. */
  drop(prompt) { this.#forget(prompt.request_id); this.#draw(); }
  /** Sends one again that was refused. */
  again(prompt) { prompt.failed = null; this.#draw(); return this.#send(prompt).catch(() => {}); }

  steer(turn, content) { return this.socket.ask({ type: 'steer', turn, content }); }
  cancel(turn) { return this.socket.ask({ type: 'cancel', turn }); }
  rate(turn, rating, note) {
    return this.socket.ask({ type: 'feedback', turn, ...(rating ? { rating } : {}), ...(note ? { note } : {}) });
  }
  approve({ approval, digest }, decision) { return this.socket.ask({ type: 'approve', approval, digest, decision }); }
}
