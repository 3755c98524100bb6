// A client of the Agent Runtime Engine in one file, without dependencies: for browsers, and for Node.js from 22 on.
//
// It speaks `are.v2` (docs/reference/websocket.md): one `Session` follows one session of the server over one socket at
// a time. A lost connection is made again by itself; every event is told once and in order, and every prompt has a
// `request_id`, so that nothing is done twice. What a turn said stands in `Turn.text`, which is always what the journal
// holds: text that became void is taken out again.
//
//     const session = await connect('http://localhost:8888', { token });
//     for await (const piece of session.prompt('Write a haiku')) process.stdout.write(piece);
//     session.close();

/** Milliseconds for which a lost server is waited for, unless told otherwise. */
const RECONNECT_MS = 30_000;
/** First pause between attempts in milliseconds, doubled up to the longest. */
const PAUSE_MS = 50;
const PAUSE_LONGEST_MS = 1_000;
/** After so many milliseconds of silence the server is asked whether it lives; after as many more it is gone. */
const HEARTBEAT_MS = 30_000;
/** Milliseconds for opening a socket and attaching. */
const OPEN_MS = 10_000;
/** Requests that may wait for their answers at once. */
const REQUESTS_MAX = 256;
/** Closes and errors that another connection cures: the server restarts, or this reader was too slow. */
const CURABLE = new Set(['ARE-0212', 'ARE-0213']);
const CURABLE_CLOSES = new Set([1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014]);
/** Events that do not say whose text follows: of a prompt that waits, or of a turn that is over. */
const BESIDE = new Set(['turn_started', 'firewall', 'feedback']);
const ENDS = { turn_completed: 'completed', turn_failed: 'failed', turn_cancelled: 'cancelled' };

/** A refusal or failure. `code` is `ARE-NNNN`, which has a page in the documentation. */
export class AreError extends Error {
  constructor({ code, message, help, retryable, retry_after_ms: retryAfterMs }) {
    super(message ?? 'no more is known');
    this.name = 'AreError';
    this.code = code;
    /** What to do about it. */
    this.help = help ?? '';
    /** True when the same may succeed later. */
    this.retryable = retryable ?? false;
    /** Milliseconds after which to try again, where the server says so. */
    this.retryAfterMs = retryAfterMs ?? null;
  }
}

const lost = (why) => new AreError({
  code: 'ARE-0105', message: why, help: 'check that the server runs and try again', retryable: true,
});

/**
 * Connects and attaches to a session, a new one unless `session` names one.
 *
 * Options, all optional: `token`; `session` (a key); `after` and `epoch` (where an earlier client stopped: `seq` and
 * `epoch` of its `Session`; without `after` an existing session is followed from its end); `agent` (of a new session);
 * `thread` (names the place that is spoken from); `onEvent(event)` (hears every event of the session, once and in
 * order); `onApproval(request)` (answers what needs a person, now or later: `allow_once`, `allow_session`,
 * `allow_always`, `deny`, or nothing to leave it to others); `headless` (true: nobody here answers approvals; so it is
 * without `onApproval` unless told otherwise); `reconnectMs`; `WebSocket` (a class, where there is no global one).
 *
 * Rejects with an `AreError`: ARE-0202 for a wrong token, ARE-0301 for an unknown session, ARE-0105 when nobody answers.
 */
export async function connect(url, options = {}) {
  const session = new Session(url, options);
  await session._open();
  return session;
}

/** One session of the server, followed. */
export class Session {
  /** The key, by which the session is found again. */
  key;
  /** The journal's epoch; another one means that entries which were seen may be lost. */
  epoch;

  #url; #options; #socket = null; #heard; #timers = new Set();
  /** Last entry that was taken in, and the last one that `onEvent` was told. */
  #seen = null; #told = 0;
  /** Where the journal ended when the socket attached; null once that is reached. */
  #end = null;
  /** True while what still comes is not what was asked for last. */
  #isRewinding = false;
  /** The turn whose text comes now. */
  #current = null;
  /** Requests by `id`, in the order in which they were made. */
  #requests = new Map(); #ids = 0;
  /** Turns that have not ended. */
  #active = new Set();
  /** Approvals that wait, by number. */
  #asked = new Map();
  #isAttached = false; #lostAt = null; #over = null;

  constructor(url, options) {
    const base = new URL(url);
    base.protocol = base.protocol.replace('http', 'ws');
    base.pathname = base.pathname.replace(/\/?$/, '/ws');
    this.#url = base;
    this.#options = options;
    this.key = options.session ?? null;
    this.epoch = options.epoch ?? null;
    this.#seen = options.session ? options.after ?? null : 0;
    this.#told = this.#seen ?? 0;
  }

  /** Number of the last entry that was seen; with `epoch` what a later client goes on from. */
  get seq() { return Math.max(this.#seen ?? 0, this.#told); }

  /** Why the session is not followed any more; null while it is. */
  get error() { return this.#over; }

  /**
   * Says something: a text, or a list of parts. Returns its `Turn` at once; a refusal comes out of that.
   *
   * Options, all optional: `requestId` (the same one again is the same turn, also after a crash; made up when absent);
   * `onEvent(event)` (of this turn); `onRestart()` (see `Turn`); `model`, `temperature`, `effort`, `adaptive`,
   * `ifBusy` (`reject` or `queue`; see `steer`), `integrity` (`untrusted` for what is not the user's own words),
   * `allowFlagged`.
   */
  prompt(content, options = {}) {
    const { requestId = madeUp(), onEvent, onRestart, ifBusy, allowFlagged, ...wishes } = options;
    if (ifBusy === 'steer') throw new TypeError('to steer a turn, call its `steer`');
    // What is undefined is not sent.
    const frame = {
      ...wishes, type: 'prompt', request_id: requestId, content, if_busy: ifBusy, allow_flagged: allowFlagged,
    };
    const turn = new Turn(this, frame, { onEvent, onRestart });
    this.#active.add(turn);
    this.#say(turn);
    return turn;
  }

  /** Says something to a turn that runs: the model stops, hears it and goes on. */
  steer(turn, content) {
    const parts = typeof content === 'string' ? [{ type: 'text', text: content }] : content;
    const isDone = (event) => event.type === 'steered' && event.turn === turn && same(event.content, parts);
    return this.#ask({ type: 'steer', turn, content }, { isDone });
  }

  /** Keeps an opinion of a turn: `rating` (`up` or `down`), `note`, or both. */
  feedback(turn, { rating, note }) {
    const isDone = (event) => event.type === 'feedback' && event.turn === turn
      && (event.rating ?? undefined) === rating && (event.note ?? undefined) === note;
    return this.#ask({ type: 'feedback', turn, rating, note }, { isDone });
  }

  /** Stops a turn. */
  cancel(turn) {
    const isDone = (event) => event.type === 'turn_cancelled' && event.turn === turn;
    return this.#ask({ type: 'cancel', turn }, { isDone, isRepeatable: true });
  }

  /** Answers an `approval_requested` event, for exactly what it shows. */
  approve({ approval, digest }, decision) {
    const isDone = (event) =>
      event.type === 'approval_resolved' && event.approval === approval && event.decision === decision;
    return this.#ask({ type: 'approve', approval, digest, decision }, { isDone, isRepeatable: true });
  }

  /** Ends the connection. What runs at the server goes on. */
  close() {
    this.#fail(lost('the session was closed here'));
  }

  async _open() {
    try {
      await this.#attach();
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  // Requests and their answers.

  async #say(turn) {
    try {
      // A turn's own prompt may be sent again and again: its `request_id` makes it the same turn.
      await this.#ask(turn._frame, { turn });
    } catch (error) {
      this.#active.delete(turn);
      turn._fail(error);
    }
  }

  #ask(frame, how) {
    if (this.#over) return Promise.reject(this.#over);
    if (this.#requests.size >= REQUESTS_MAX) {
      return Promise.reject(new AreError({
        code: 'ARE-0704', message: `${REQUESTS_MAX} requests wait already`, help: 'wait for their answers', retryable: true,
      }));
    }
    const id = ++this.#ids;
    return new Promise((resolve, reject) => {
      const request = { ...how, frame: { ...frame, id }, resolve, reject, isSent: false, isDoubtful: false };
      this.#requests.set(id, request);
      if (this.#isAttached) this.#send(request);
    });
  }

  #send(request) {
    request.isSent = true;
    this.#socket.send(JSON.stringify(request.frame));
  }

  #answered(frame) {
    const request = this.#requests.get(frame.id);
    if (!request) return;
    this.#requests.delete(frame.id);
    if (frame.type === 'error') {
      request.reject(new AreError(frame));
      return;
    }
    const { turn } = request;
    if (turn && turn.number === null && this.#active.has(turn)) {
      turn._began(frame.turn, frame.seq);
      if (frame.seq <= this.#seen) this.#rewind();
    }
    request.resolve({ turn: frame.turn ?? null, seq: frame.seq });
  }

  /** A turn began before what is followed: all that run are read again from where the first of them began. */
  #rewind() {
    const running = [...this.#active].filter((turn) => turn.number !== null);
    for (const turn of running) turn._void('');
    this.#seen = Math.min(...running.map((turn) => turn._start)) - 1;
    this.#current = null;
    this.#isRewinding = true;
    this.#socket.send(JSON.stringify(this.#request()));
  }

  // What the server says.

  #take(message) {
    if (Array.isArray(message)) {
      const [seq, last, text] = message.length === 3 ? message : [message[0], message[0], message[1]];
      this.#entry({ type: 'text', turn: this.#current, seq, last, text }, last);
    } else if (message.type === 'attached' || message.type === 'reset') {
      this.#follow(message);
    } else if (message.type === 'ack' || (message.type === 'error' && message.id !== undefined)) {
      this.#answered(message);
    } else if (message.type === 'error') {
      // No answer to a request: the session is followed no longer.
      this.#lose(new AreError(message));
    } else if (message.seq !== undefined) {
      this.#entry(message, message.seq);
    } else if (message.type !== 'pong') {
      this.#hear(message);
    }
  }

  #entry(event, last) {
    if (this.#isRewinding || (this.#seen !== null && last <= this.#seen)) return;
    this.#seen = last;
    if (event.type !== 'text' && !BESIDE.has(event.type)) this.#current = event.turn ?? this.#current;
    const own = [...this.#active].filter((turn) => {
      if (event.type === 'turn_started' && event.request_id === turn.requestId) turn._began(event.turn, event.seq);
      return turn.number !== null && turn.number === event.turn;
    });
    for (const turn of own) {
      turn._take(event);
      if (turn.outcome) this.#active.delete(turn);
    }
    this.#settle(event);
    if (last > this.#told) {
      this.#told = last;
      this.#hear(event, own);
      this.#approvals(event);
    }
    if (this.#end !== null && last >= this.#end) this.#caughtUp();
  }

  #hear(event, turns = []) {
    this.#options.onEvent?.(event);
    for (const turn of turns) turn._onEvent?.(event);
  }

  /** Attached, or told that what is known here is not of this journal. */
  #follow(message) {
    this.#isRewinding = false;
    this.key = message.session;
    this.epoch = message.epoch;
    this.#end = message.seq;
    if (message.type === 'reset') {
      this.#seen = 0;
      this.#told = 0;
      this.#current = null;
      this.#asked.clear();
      this.#hear(message);
      for (const turn of this.#active) {
        const isKnown = turn.number !== null;
        turn._began(null, null);
        turn._void('');
        // If the journal lost it, it is begun again; else this is the same turn.
        if (isKnown) this.#say(turn);
      }
    } else if (this.#seen === null) {
      this.#seen = message.seq;
      this.#told = message.seq;
      this.#current = message.turn;
    }
    if (this.#seen >= this.#end) this.#caughtUp();
  }

  /** What happened up to attaching is known. */
  #caughtUp() {
    this.#end = null;
    for (const request of [...this.#requests.values()]) {
      if (!request.isDoubtful) continue;
      request.isDoubtful = false;
      if (request.isRepeatable) {
        this.#send(request);
        continue;
      }
      this.#requests.delete(request.frame.id);
      request.reject(lost('the connection was lost before the answer, and the journal does not show what was asked for'));
    }
    for (const request of [...this.#asked.values()]) this.#offer(request);
  }

  /** A request whose answer was lost with the connection is done when the journal says so. */
  #settle(event) {
    for (const request of [...this.#requests.values()]) {
      if (!request.isDoubtful || !request.isDone?.(event)) continue;
      this.#requests.delete(request.frame.id);
      request.resolve({ turn: event.turn ?? null, seq: event.seq });
    }
  }

  #approvals(event) {
    if (event.type === 'approval_requested') {
      this.#asked.set(event.approval, event);
      if (this.#end === null) this.#offer(event);
    } else if (event.type === 'approval_resolved' || event.type === 'approval_withdrawn') {
      this.#asked.delete(event.approval);
    } else if (ENDS[event.type]) {
      for (const [key, asked] of this.#asked) if (asked.turn === event.turn) this.#asked.delete(key);
    }
  }

  async #offer(request) {
    if (!this.#options.onApproval || !this.#asked.delete(request.approval)) return;
    try {
      const decision = await this.#options.onApproval(request);
      if (decision) await this.approve(request, decision);
    } catch (error) {
      // Somebody else was quicker, or the turn is over; what that came to is an event.
      const isLate = error instanceof AreError && ['ARE-0602', 'ARE-0310', 'ARE-0105'].includes(error.code);
      if (!isLate) this.#fail(error);
    }
  }

  // The connection.

  #request() {
    const { thread, agent, onApproval, headless = !onApproval } = this.#options;
    const frame = { type: 'attach', session: this.key ?? 'new', thread, headless };
    if (this.key === null) Object.assign(frame, { after: 0, agent });
    else Object.assign(frame, { after: this.#seen ?? undefined, epoch: this.epoch ?? undefined });
    return frame;
  }

  /** Opens a socket and attaches; resolves when that is done. */
  #attach() {
    return new Promise((resolve, reject) => {
      const { token, WebSocket: Socket = globalThis.WebSocket } = this.#options;
      if (!Socket) throw new TypeError('there is no global `WebSocket`: use Node.js 22 or newer, or hand one over');
      const socket = new Socket(this.#url, token ? ['are.v2', `are.token.${base64url(token)}`] : ['are.v2']);
      this.#socket = socket;
      let isOpen = false;
      const end = (error) => {
        if (this.#socket !== socket) return;
        if (this.#isAttached) {
          this.#lose(error);
          return;
        }
        this.#stop();
        reject(error);
      };
      const timer = setTimeout(() => end(lost('the server does not answer')), OPEN_MS);
      this.#timers.add(timer);
      socket.onopen = () => {
        isOpen = true;
        socket.send(JSON.stringify(this.#request()));
      };
      socket.onclose = ({ code, reason }) => {
        if (isOpen) end(closed(code, reason));
        else this.#why(token).then(end);
      };
      socket.onmessage = ({ data }) => {
        this.#heard = Date.now();
        try {
          const message = JSON.parse(data);
          if (this.#isAttached) {
            this.#take(message);
          } else if (message.type === 'error') {
            end(new AreError(message));
          } else {
            // The first answer is to `attach`.
            clearTimeout(timer);
            this.#lostAt = null;
            this.#take(message);
            this.#isAttached = true;
            this.#resume();
            this.#beat(end);
            resolve();
          }
        } catch (error) {
          this.#fail(error);
        }
      };
    });
  }

  /** Sends what was not sent yet, and prompts again: those are the same ones by their `request_id`. */
  #resume() {
    for (const request of this.#requests.values()) if (!request.isSent || request.turn) this.#send(request);
  }

  /** A refused upgrade tells a page nothing; a request with the same credential does. */
  async #why(token) {
    const asked = new URL(this.#url);
    asked.protocol = asked.protocol.replace('ws', 'http');
    asked.pathname = asked.pathname.replace(/ws$/, 'api/login');
    try {
      const headers = token ? { authorization: `Bearer ${token}` } : {};
      const answer = await fetch(asked, { headers, signal: AbortSignal.timeout(OPEN_MS) });
      if (answer.ok || answer.status >= 500) return lost('the server does not open a socket');
      return new AreError(await answer.json());
    } catch {
      return lost(`nobody answers at ${asked.origin}`);
    }
  }

  /** Silence is looked into: a connection that died without a word is found out. */
  #beat(end) {
    const socket = this.#socket;
    this.#timers.add(setInterval(() => {
      const silence = Date.now() - this.#heard;
      if (silence >= 2 * HEARTBEAT_MS) end(lost('the server went silent'));
      else if (silence >= HEARTBEAT_MS) socket.send('{"type":"ping"}');
    }, HEARTBEAT_MS / 2));
  }

  #lose(error) {
    this.#stop();
    if (!error.retryable) {
      this.#fail(error);
      return;
    }
    for (const request of this.#requests.values()) request.isDoubtful = request.isSent && !request.turn;
    this.#lostAt ??= Date.now();
    this.#hear({ type: 'lost', error });
    this.#mend();
  }

  async #mend() {
    let pause = PAUSE_MS;
    while (!this.#over) {
      try {
        await this.#attach();
        return;
      } catch (error) {
        const isOver = Date.now() - this.#lostAt > (this.#options.reconnectMs ?? RECONNECT_MS);
        if (!(error instanceof AreError) || !error.retryable || isOver) {
          this.#fail(error);
          return;
        }
      }
      await new Promise((resolve) => { setTimeout(resolve, pause); });
      pause = Math.min(pause * 2, PAUSE_LONGEST_MS);
    }
  }

  #stop() {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers.clear();
    this.#isAttached = false;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #fail(error) {
    if (this.#over) return;
    this.#over = error;
    this.#stop();
    for (const request of this.#requests.values()) request.reject(error);
    for (const turn of this.#active) turn._fail(error);
    this.#requests.clear();
    this.#active.clear();
  }
}

/**
 * One prompt and all that follows until the answer.
 *
 * `for await (const piece of turn)` gives the answer's text as it comes. When the model has to begin again after a
 * crash, and its new words are others than those that were given already, `onRestart()` is called and the answer is
 * given from its beginning; without `onRestart` the loop ends with ARE-0405. `text` is right in any case.
 * A turn that failed ends the loop with its `AreError`; leaving the loop does not stop the turn.
 */
export class Turn {
  /** Its number in the session, once the server has it; null before. */
  number = null;
  /** The answer's text so far. */
  text = '';
  /** `completed`, `failed` or `cancelled`; null while it runs. */
  outcome = null;
  /** Why the model stopped, of a completed turn. */
  stopReason = null;
  /** Why it failed, or is followed no longer. */
  error = null;

  #session; #onRestart; #waiting = []; #version = 0;

  constructor(session, frame, { onEvent, onRestart }) {
    this.#session = session;
    this.#onRestart = onRestart;
    this._frame = frame;
    this._start = null;
    this._onEvent = onEvent;
  }

  /** What makes this prompt the same one when it is sent again. */
  get requestId() { return this._frame.request_id; }

  /** Resolves to the turn's number once the prompt is durable. */
  async started() {
    while (this.number === null && !this.error) await this.#change();
    if (this.number === null) throw this.error;
    return this.number;
  }

  /** Resolves when the turn has ended, to itself; rejects when it failed. */
  async done() {
    while (!this.outcome && !this.error) await this.#change();
    if (this.error) throw this.error;
    return this;
  }

  async steer(content) { return this.#session.steer(await this.started(), content); }
  async cancel() { return this.#session.cancel(await this.started()); }
  async feedback(opinion) { return this.#session.feedback(await this.started(), opinion); }

  async* [Symbol.asyncIterator]() {
    let given = '';
    let version = this.#version;
    for (;;) {
      if (version !== this.#version) {
        // Something was taken back. As long as the new words are those that were given, nothing is said.
        const isOver = this.outcome !== null || this.error !== null;
        const length = Math.min(given.length, this.text.length);
        const isSame = given.slice(0, length) === this.text.slice(0, length);
        if (!isSame || (isOver && length < given.length)) {
          if (!this.#onRestart) throw restarted();
          this.#onRestart();
          given = '';
        } else if (length < given.length) {
          await this.#change();
          continue;
        }
        version = this.#version;
      }
      if (this.text.length > given.length) {
        const piece = this.text.slice(given.length);
        given += piece;
        yield piece;
      } else if (this.error) {
        throw this.error;
      } else if (this.outcome) {
        return;
      } else {
        await this.#change();
      }
    }
  }

  _take(event) {
    if (event.type === 'text') this.text += event.text;
    else if (event.type === 'model_restarted') this._void(cut(this.text, event.keep_bytes));
    if (ENDS[event.type]) {
      this.outcome = ENDS[event.type];
      this.stopReason = event.stop_reason ?? null;
      if (event.type === 'turn_failed') this.error = new AreError(event.error);
    }
    this.#wake();
  }

  _void(text) {
    if (text === this.text) return;
    this.text = text;
    this.#version += 1;
  }

  _began(number, seq) {
    this.number = number;
    this._start = seq;
    this.#wake();
  }

  _fail(error) {
    if (this.outcome) return;
    this.error = error;
    this.#wake();
  }

  #change() { return new Promise((resolve) => { this.#waiting.push(resolve); }); }

  #wake() {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

const restarted = () => new AreError({
  code: 'ARE-0405', message: 'text that was given already became void, because the model began again',
  help: 'give `onRestart`, or read `text` when the turn has ended', retryable: true,
});

/** A close code of ours is 4000 and the error's number, and the reason names it; the others are RFC 6455's. */
function closed(code, reason) {
  const [, own, message] = /^(ARE-\d{4}) (.*)$/s.exec(reason) ?? [];
  if (own) return new AreError({ code: own, message, help: "see the server's log", retryable: CURABLE.has(own) });
  const error = lost(`the server closed the connection with ${code}`);
  error.retryable = CURABLE_CLOSES.has(code);
  return error;
}

/** The first bytes of a text, as UTF-8 counts them. */
function cut(text, bytes) {
  return new TextDecoder().decode(new TextEncoder().encode(text).subarray(0, bytes));
}

function base64url(text) {
  const binary = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** An id that nobody else has. Pages without encryption have no `randomUUID`. */
function madeUp() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Whether two values of JSON are the same, whatever the order of their fields. */
function same(one, other) {
  if (typeof one !== 'object' || one === null || typeof other !== 'object' || other === null) return one === other;
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => same(one[key], other[key]));
}
