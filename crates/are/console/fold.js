// A session's events, folded into what is shown: turns with their items, calls
// by number, and steps with times. Every entry counts once, by its `seq`.

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Types that say nothing by themselves in a conversation. */
const SILENT = new Set(['model_requested', 'model_completed', 'turn_started', 'session_created', 'feedback']);

/** Direct answers: their `seq` is where the journal stands, not an entry. */
const DIRECT = new Set(['attached', 'reset', 'ack', 'pong', 'error', 'progress']);

export class Fold {
  constructor() { this.clear(); }

  clear() {
    Object.assign(this, {
      seq: 0, epoch: null, created: null, deleted: false, running: null, progress: null, summary: null,
      turns: [], byTurn: new Map(), calls: new Map(), approvals: new Map(), speaking: null, raw: [], artifacts: [],
    });
  }

  turn(number) {
    let turn = this.byTurn.get(number);
    if (!turn) {
      turn = {
        number, state: 'running', content: null, items: [], steps: [], calls: [], rev: 0, startedAt: null, endedAt: null,
        usage: { input: 0, cached: 0, output: 0 }, rating: null, error: null, undoes: null, compacts: false, model: null, strategy: null,
      };
      this.byTurn.set(number, turn);
      this.turns.push(turn);
    }
    return turn;
  }

  /** Takes in an event or a token array; true when it was new. */
  add(message) {
    if (Array.isArray(message)) return this.#token(message);
    if (DIRECT.has(message.type) || message.seq === undefined || message.seq <= this.seq) return false;
    this.seq = message.seq;
    this.raw.push(message);
    this.progress = null;
    const handler = this[`on_${message.type}`];
    const turn = message.turn == null ? null : this.turn(message.turn);
    if (turn) turn.rev += 1;
    if (handler) handler.call(this, message, turn);
    else if (!SILENT.has(message.type)) this.#note(message, turn);
    return true;
  }

  /** What happened beside words and calls. */
  #note(message, turn) {
    if (turn) turn.items.push({ kind: 'note', event: message, at: message.at_ms });
  }

  #token(message) {
    const text = message.at(-1);
    const last = message.length === 3 ? message[1] : message[0];
    if (last <= this.seq) return false;
    this.seq = last;
    this.progress = null;
    this.raw.push({ type: 'token', seq: message[0], last, text, turn: this.speaking });
    if (this.speaking == null) return true;
    const turn = this.turn(this.speaking);
    turn.rev += 1;
    const item = turn.goesOn ? turn.items.findLast((one) => one.event?.type !== 'turn_resumed') : turn.items.at(-1);
    if (item?.kind === 'text') item.text += text;
    else turn.items.push({ kind: 'text', text });
    return true;
  }

  #ended(turn, state, message) {
    Object.assign(turn, { state, endedAt: message.at_ms, error: message.error ?? null, stop: message.stop_reason ?? null });
    for (const step of turn.steps) if (step.end == null) step.end = message.at_ms;
    for (const call of turn.calls) if (!call.state.startsWith('done') && ['asked', 'decided', 'running'].includes(call.state)) call.state = 'stopped';
    if (this.running === turn.number) this.running = null;
    if (this.speaking === turn.number) this.speaking = null;
  }

  on_session_created(message) { this.created = message; }
  on_session_deleted() { this.deleted = true; }

  on_turn_started(message, turn) {
    Object.assign(turn, {
      content: message.content, startedAt: message.at_ms, account: message.account, thread: message.thread,
      integrity: message.integrity, requestId: message.request_id, undoes: message.undoes ?? null, compacts: message.compacts ?? false,
      wished: message.model ?? null, effort: message.effort ?? null, temperature: message.temperature ?? null,
    });
    if (this.running == null) this.running = turn.number;
  }

  on_model_requested(message, turn) {
    this.running = turn.number;
    this.speaking = turn.number;
    turn.state = 'running';
    turn.model = message.model;
    turn.steps.push({ kind: 'model', name: message.model, attempt: message.attempt, start: message.at_ms, end: null, seq: message.seq });
  }

  on_planned(message, turn) {
    this.#answered(message, turn);
    this.#note(message, turn);
  }

  on_model_failed(message, turn) {
    this.#answered(message, turn, 'failed');
    this.#note(message, turn);
  }

  on_strategy(message, turn) {
    turn.strategy = message;
    this.#note(message, turn);
  }

  on_compaction_requested(message, turn) {
    this.running = turn.number;
    turn.steps.push({ kind: 'model', name: message.model, attempt: 1, start: message.at_ms, end: null, seq: message.seq });
    this.#note(message, turn);
  }

  on_compacted(message, turn) {
    this.summary = message;
    this.#answered(message, turn);
    this.#note(message, turn);
  }

  on_compaction_failed(message, turn) {
    this.#answered(message, turn, 'failed');
    this.#note(message, turn);
  }

  // It is no part of a turn; it stands behind the last one.
  on_compaction_undone(message, turn) {
    this.summary = null;
    const last = turn ?? this.turns.at(-1);
    if (!last) return;
    if (!turn) last.rev += 1;
    this.#note(message, last);
  }

  on_model_completed(message, turn) {
    turn.goesOn = false;
    this.#answered(message, turn);
  }

  #answered(message, turn, state) {
    const step = turn.steps.findLast((one) => one.kind === 'model' && one.end == null);
    const { input_tokens: input = 0, cached_tokens: cached = 0, output_tokens: output = 0 } = message.usage ?? {};
    if (step) Object.assign(step, { end: message.at_ms, stop: message.stop_reason, state, usage: { input, cached, output } });
    turn.usage.input += input;
    turn.usage.cached += cached;
    turn.usage.output += output;
  }

  on_reasoning(message, turn) {
    const item = turn.items.at(-1);
    if (item?.kind === 'reasoning') item.text += message.text;
    else turn.items.push({ kind: 'reasoning', text: message.text, at: message.at_ms });
  }

  on_model_restarted(message, turn) {
    let keep = message.keep_bytes;
    let cut = false;
    for (const item of turn.items) {
      if (item.kind !== 'text') continue;
      const bytes = encoder.encode(item.text);
      cut ||= bytes.length > keep;
      if (bytes.length > keep) item.text = decoder.decode(bytes.slice(0, Math.max(keep, 0)));
      keep = Math.max(keep - bytes.length, 0);
    }
    turn.items = turn.items.filter((item) => item.kind !== 'text' || item.text !== '');
    // One that goes on with its words says the rest of the same text.
    turn.goesOn = !cut && message.keep_bytes > 0;
    if (!turn.goesOn) this.#note(message, turn);
  }

  on_tool_requested(message, turn) {
    const call = {
      kind: 'call', call: message.call, parent: message.parent ?? null, tool: message.tool, args: message.args, state: 'asked',
      decision: null, approval: null, child: null, firewall: null, output: [], result: undefined, error: null, children: [], artifacts: [], askedAt: message.at_ms, ms: null,
      turn: turn.number, approvals: [],
    };
    this.calls.set(message.call, call);
    turn.calls.push(call);
    const parent = call.parent == null ? null : this.calls.get(call.parent);
    if (parent) parent.children.push(call);
    else turn.items.push(call);
  }

  #call(message, change) {
    const call = this.calls.get(message.call);
    if (call) change(call);
  }

  on_decision(message) {
    this.#call(message, (call) => { Object.assign(call, { decision: message, state: call.state === 'running' ? 'running' : 'decided' }); });
  }

  on_approval_requested(message, turn) {
    this.approvals.set(message.approval, { ...message, answer: null, withdrawn: false });
    this.#call(message, (call) => { call.state = 'waiting'; call.approval = this.approvals.get(message.approval); });
    turn.state = 'waiting';
  }

  on_approval_withdrawn(message, turn) {
    const approval = this.approvals.get(message.approval);
    if (approval) { approval.withdrawn = true; this.#call(approval, (call) => { call.approval = null; call.state = 'asked'; }); }
    if (turn) turn.state = 'running';
  }

  on_approval_resolved(message, turn) {
    const approval = this.approvals.get(message.approval);
    if (approval) {
      Object.assign(approval, { answer: message.decision, by: message.by });
      this.#call(approval, (call) => { call.state = 'decided'; });
    }
    if (turn) turn.state = 'running';
  }

  on_turn_parked(message, turn) {
    turn.state = 'parked';
    this.#note(message, turn);
  }

  on_tool_started(message, turn) {
    this.#call(message, (call) => {
      Object.assign(call, { state: 'running', effect: message.effect, retry: message.retry, startedAt: message.at_ms });
      turn.steps.push({ kind: 'tool', name: call.tool, call: call.call, parent: call.parent, start: message.at_ms, end: null, seq: message.seq });
    });
  }

  on_tool_output(message) {
    this.#call(message, (call) => {
      const last = call.output.at(-1);
      if (last?.stream === message.stream) last.text += message.text;
      else call.output.push({ stream: message.stream, text: message.text });
    });
  }

  on_artifact(message) {
    this.artifacts.push(message);
    this.#call(message, (call) => { call.artifacts.push(message); });
  }

  #finished(message, turn, change) {
    this.#call(message, (call) => {
      Object.assign(call, change, { endedAt: message.at_ms });
      const step = turn?.steps.find((one) => one.kind === 'tool' && one.call === call.call);
      if (step) Object.assign(step, { end: message.at_ms, state: call.state });
      else if (turn) turn.steps.push({ kind: 'tool', name: call.tool, call: call.call, parent: call.parent, start: call.askedAt, end: message.at_ms, state: call.state, seq: message.seq });
      if (call.ms == null && call.startedAt) call.ms = message.at_ms - call.startedAt;
    });
  }

  on_tool_completed(message, turn) { this.#finished(message, turn, { state: 'done', result: message.result, labels: message.labels, ms: message.ms }); }
  on_tool_failed(message, turn) { this.#finished(message, turn, { state: message.is_denied ? 'denied' : 'failed', error: message.error }); }
  on_tool_unknown(message, turn) { this.#finished(message, turn, { state: 'unknown', error: message.error }); }
  on_tool_handed_over(message, turn) { this.#finished(message, turn, { state: 'client' }); }

  on_child_started(message) { this.#call(message, (call) => { call.child = { session: message.session, agent: message.agent }; }); }
  on_child_completed(message) { this.#call(message, (call) => { call.child = { ...call.child, session: message.session, ended: message.ended, used: message.used }; }); }

  on_firewall(message, turn) {
    if (message.call != null) this.#call(message, (call) => { call.firewall = message; });
    else this.#note(message, turn);
  }

  on_steered(message, turn) { turn.items.push({ kind: 'steered', content: message.content, integrity: message.integrity, at: message.at_ms }); }
  on_feedback(message, turn) { if (turn) turn.rating = { rating: message.rating ?? turn.rating?.rating ?? null, note: message.note ?? turn.rating?.note ?? null }; }

  on_turn_completed(message, turn) { this.#ended(turn, 'completed', message); }
  on_turn_failed(message, turn) { this.#ended(turn, 'failed', message); }
  on_turn_cancelled(message, turn) { this.#ended(turn, 'cancelled', message); }

  /** The running turn, waiting ones included. */
  get open() {
    const running = this.running == null ? null : this.byTurn.get(this.running);
    if (running && !running.endedAt) return running;
    return this.turns.find((turn) => turn.startedAt && !turn.endedAt && turn.state !== 'parked') ?? null;
  }
}

/** Plain text of content parts. */
export const wordsOf = (content) => (content ?? []).filter((part) => part.type === 'text').map((part) => part.text).join('\n');
/** The answer's text. */
export const answerOf = (turn) => turn.items.filter((item) => item.kind === 'text').map((item) => item.text).join('\n\n');
